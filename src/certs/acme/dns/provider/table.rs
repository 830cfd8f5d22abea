//! How each provider is made of what the config gives, and what it can. What
//! the config has to give is decided there.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use dns_update::providers::{
    azuredns, bluecatv2, edgedns, google_cloud_dns, infoblox, joker, lightsail, oraclecloud, ovh, route53,
    volcengine, yandexcloud,
};
use dns_update::{DnsUpdater, Result as Made};

use crate::config::model::DnsProvider;

/// For one request.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));

/// For how long who looks a record up may keep it, in seconds. Many providers
/// take nothing below it, and some raise it by themselves.
const TTL: u32 = 120;

/// What is not given at all.
const NONE: Option<&str> = None;

/// What the config gives.
pub(super) struct Given<'a>(pub(super) &'a DnsProvider);

impl<'a> Given<'a> {
    fn maybe(&self, key: &str) -> Option<&'a str> {
        self.0.given.get(key).and_then(|secret| std::str::from_utf8(secret.bytes()).ok())
    }

    fn get(&self, key: &str) -> &'a str {
        self.maybe(key).unwrap_or_default()
    }

    fn owned(&self, key: &str) -> String {
        self.get(key).to_owned()
    }
}

/// A provider.
pub(super) struct Row {
    /// Its name in the config.
    pub(super) name: &'static str,
    /// What talks to it.
    pub(super) make: fn(&Given<'_>) -> Made<DnsUpdater>,
    /// It has one value for a name, so that a name and its wildcard cannot be
    /// proven at a time.
    pub(super) has_one_value: bool,
    /// For how long a record may be kept, in seconds.
    pub(super) ttl: u32,
}

const fn row(name: &'static str, make: fn(&Given<'_>) -> Made<DnsUpdater>) -> Row {
    Row { name, make, has_one_value: false, ttl: TTL }
}

/// A provider that takes no record that is kept for less.
const fn slow(name: &'static str, ttl: u32, make: fn(&Given<'_>) -> Made<DnsUpdater>) -> Row {
    Row { name, make, has_one_value: false, ttl }
}

const fn one_value(name: &'static str, make: fn(&Given<'_>) -> Made<DnsUpdater>) -> Row {
    Row { name, make, has_one_value: true, ttl: TTL }
}

/// All of them, as the config has them.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    slow("alidns", 600, |g| DnsUpdater::new_alidns(g.get("key"), g.get("secret"), g.maybe("region"), NONE, NONE, PATIENCE)),
    row("arvancloud", |g| DnsUpdater::new_arvancloud(g.get("token"), PATIENCE)),
    slow("autodns", 600, |g| DnsUpdater::new_autodns(g.get("user"), g.get("password"), None, PATIENCE)),
    row("azuredns", |g| DnsUpdater::new_azuredns(azure(g))),
    row("baiducloud", |g| DnsUpdater::new_baiducloud(g.get("key"), g.get("secret"), PATIENCE)),
    row("bluecatv2", |g| DnsUpdater::new_bluecatv2(bluecat(g))),
    row("bunny", |g| DnsUpdater::new_bunny(g.get("token"), PATIENCE)),
    row("cloudflare", |g| DnsUpdater::new_cloudflare(g.get("token"), PATIENCE)),
    // It knows a few numbers only.
    slow("cloudns", 60, |g| DnsUpdater::new_cloudns(g.maybe("user"), NONE, g.get("password"), PATIENCE)),
    row("constellix", |g| DnsUpdater::new_constellix(g.get("key"), g.get("secret"), PATIENCE)),
    row("cpanel", |g| DnsUpdater::new_cpanel(g.get("endpoint"), g.get("user"), g.get("token"), PATIENCE)),
    one_value("ddnss", |g| DnsUpdater::new_ddnss(g.get("token"), PATIENCE)),
    row("desec", |g| DnsUpdater::new_desec(g.get("token"), PATIENCE)),
    row("digitalocean", |g| DnsUpdater::new_digitalocean(g.get("token"), PATIENCE)),
    row("dnsimple", |g| DnsUpdater::new_dnsimple(g.get("token"), g.get("account"), PATIENCE)),
    row("dnsmadeeasy", |g| DnsUpdater::new_dnsmadeeasy(g.get("key"), g.get("secret"), PATIENCE)),
    row("domeneshop", |g| DnsUpdater::new_domeneshop(g.get("token"), g.get("secret"), PATIENCE)),
    row("dreamhost", |g| DnsUpdater::new_dreamhost(g.get("token"), PATIENCE)),
    one_value("duckdns", |g| DnsUpdater::new_duckdns(g.get("token"), PATIENCE)),
    slow("dynu", 300, |g| DnsUpdater::new_dynu(g.get("token"), PATIENCE)),
    slow("easydns", 300, |g| DnsUpdater::new_easydns(g.get("token"), g.get("key"), PATIENCE)),
    row("edgedns", |g| DnsUpdater::new_edgedns(edge(g))),
    row("exoscale", |g| DnsUpdater::new_exoscale(g.get("key"), g.get("secret"), PATIENCE)),
    one_value("freemyip", |g| DnsUpdater::new_freemyip(g.get("token"), PATIENCE)),
    slow("gandiv5", 300, |g| DnsUpdater::new_gandiv5(g.get("token"), PATIENCE)),
    row("gcloud", |g| DnsUpdater::new_google_cloud_dns(google(g))),
    row("gcore", |g| DnsUpdater::new_gcore(g.get("token"), PATIENCE)),
    row("glesys", |g| DnsUpdater::new_glesys(g.get("user"), g.get("token"), PATIENCE)),
    slow("godaddy", 600, |g| DnsUpdater::new_godaddy(g.get("key"), g.get("secret"), PATIENCE)),
    row("hetzner", |g| DnsUpdater::new_hetzner(g.get("token"), PATIENCE)),
    row("hostingde", |g| DnsUpdater::new_hostingde(g.get("token"), PATIENCE)),
    row("hostinger", |g| DnsUpdater::new_hostinger(g.get("token"), PATIENCE)),
    slow("huaweicloud", 300, |g| DnsUpdater::new_huaweicloud(g.get("key"), g.get("secret"), g.get("region"), PATIENCE)),
    row("ibmcloud", |g| DnsUpdater::new_ibmcloud(g.get("user"), g.get("token"), PATIENCE)),
    row("infoblox", |g| DnsUpdater::new_infoblox(infoblox(g))),
    slow("infomaniak", 300, |g| DnsUpdater::new_infomaniak(g.get("token"), PATIENCE)),
    slow("inwx", 300, |g| DnsUpdater::new_inwx(g.get("user"), g.get("password"), false, PATIENCE)),
    slow("ionos", 300, |g| DnsUpdater::new_ionos(g.get("token"), PATIENCE)),
    row("ipv64", |g| DnsUpdater::new_ipv64(g.get("token"), PATIENCE)),
    row("joker", |g| DnsUpdater::new_joker(joker::JokerAuth::api_key(g.get("token")), PATIENCE)),
    row("lightsail", |g| DnsUpdater::new_lightsail(lightsail(g))),
    slow("linode", 300, |g| DnsUpdater::new_linode(g.get("token"), PATIENCE)),
    slow("luadns", 300, |g| DnsUpdater::new_luadns(g.get("user"), g.get("token"), PATIENCE)),
    row("mythicbeasts", |g| DnsUpdater::new_mythicbeasts(g.get("user"), g.get("password"), PATIENCE)),
    row("namecheap", |g| DnsUpdater::new_namecheap(g.get("user"), g.get("token"), g.get("client_ip"), NONE, PATIENCE)),
    slow("namedotcom", 300, |g| DnsUpdater::new_namedotcom(g.get("user"), g.get("token"), PATIENCE)),
    row("namesilo", |g| DnsUpdater::new_namesilo(g.get("token"), PATIENCE)),
    row("netcup", |g| DnsUpdater::new_netcup(g.get("user"), g.get("key"), g.get("password"), PATIENCE)),
    slow("netlify", 300, |g| DnsUpdater::new_netlify(g.get("token"), PATIENCE)),
    row("nifcloud", |g| DnsUpdater::new_nifcloud(g.get("key"), g.get("secret"), PATIENCE)),
    row("ns1", |g| DnsUpdater::new_ns1(g.get("token"), PATIENCE)),
    row("oraclecloud", |g| DnsUpdater::new_oraclecloud(oracle(g))),
    row("ovh", |g| DnsUpdater::new_ovh(g.get("key"), g.get("secret"), g.get("token"), ovh_endpoint(g)?, PATIENCE)),
    row("pdns", |g| DnsUpdater::new_pdns(g.get("token"), g.maybe("endpoint"), NONE, PATIENCE)),
    row("plesk", |g| DnsUpdater::new_plesk(g.get("endpoint"), g.get("token"), PATIENCE)),
    slow("porkbun", 600, |g| DnsUpdater::new_porkbun(g.get("key"), g.get("secret"), PATIENCE)),
    row("route53", |g| DnsUpdater::new_route53(route53(g))),
    row("safedns", |g| DnsUpdater::new_safedns(g.get("token"), PATIENCE)),
    row("scaleway", |g| DnsUpdater::new_scaleway(g.get("token"), PATIENCE)),
    row("selectel", |g| DnsUpdater::new_selectel(g.get("user"), g.get("password"), g.get("account"), g.get("project"), PATIENCE)),
    row("simply", |g| DnsUpdater::new_simplycom(g.get("user"), g.get("token"), PATIENCE)),
    row("spaceship", |g| DnsUpdater::new_spaceship(g.get("key"), g.get("secret"), PATIENCE)),
    slow("tencentcloud", 600, |g| DnsUpdater::new_tencentcloud(g.get("key"), g.get("secret"), NONE, NONE, PATIENCE)),
    row("transip", |g| DnsUpdater::new_transip(g.get("user"), g.get("secret"), false, PATIENCE)),
    row("ultradns", |g| DnsUpdater::new_ultradns(g.get("user"), g.get("password"), None, PATIENCE)),
    row("vercel", |g| DnsUpdater::new_vercel(g.get("token"), g.maybe("team"), PATIENCE)),
    slow("volcengine", 600, |g| DnsUpdater::new_volcengine(volcengine(g))),
    row("vultr", |g| DnsUpdater::new_vultr(g.get("token"), PATIENCE)),
    slow("websupport", 600, |g| DnsUpdater::new_websupport(g.get("key"), g.get("secret"), PATIENCE)),
    row("yandexcloud", |g| DnsUpdater::new_yandexcloud(yandex(g))),
    row("zoneee", |g| DnsUpdater::new_zoneeu(g.get("user"), g.get("token"), PATIENCE)),
];

fn azure(given: &Given<'_>) -> azuredns::AzureDnsConfig {
    azuredns::AzureDnsConfig {
        tenant_id: given.owned("tenant"),
        client_id: given.owned("client"),
        client_secret: given.owned("secret"),
        subscription_id: given.owned("subscription"),
        resource_group: given.owned("resource_group"),
        environment: azuredns::AzureEnvironment::Public,
        request_timeout: PATIENCE,
    }
}

fn bluecat(given: &Given<'_>) -> bluecatv2::BluecatV2Config {
    bluecatv2::BluecatV2Config {
        server_url: given.owned("endpoint"),
        username: given.owned("user"),
        password: given.owned("password"),
        config_name: given.owned("configuration"),
        view_name: given.owned("view"),
        skip_deploy: false,
        request_timeout: PATIENCE,
    }
}

fn edge(given: &Given<'_>) -> edgedns::EdgeDnsConfig {
    edgedns::EdgeDnsConfig {
        host: given.owned("endpoint"),
        client_token: given.owned("key"),
        client_secret: given.owned("secret"),
        access_token: given.owned("token"),
        account_switch_key: None,
        request_timeout: PATIENCE,
    }
}

fn google(given: &Given<'_>) -> google_cloud_dns::GoogleCloudDnsConfig {
    google_cloud_dns::GoogleCloudDnsConfig {
        service_account_json: given.owned("secret"),
        project_id: given.owned("project"),
        managed_zone: None,
        private_zone: false,
        impersonate_service_account: None,
        request_timeout: PATIENCE,
    }
}

fn infoblox(given: &Given<'_>) -> infoblox::InfobloxConfig {
    infoblox::InfobloxConfig {
        host: given.owned("endpoint"),
        port: None,
        username: given.owned("user"),
        password: given.owned("password"),
        wapi_version: None,
        dns_view: given.maybe("view").map(str::to_owned),
        request_timeout: PATIENCE,
    }
}

fn lightsail(given: &Given<'_>) -> lightsail::LightsailConfig {
    lightsail::LightsailConfig {
        access_key_id: given.owned("key"),
        secret_access_key: given.owned("secret"),
        session_token: None,
        region: given.maybe("region").map(str::to_owned),
        domain: None,
        request_timeout: PATIENCE,
    }
}

fn oracle(given: &Given<'_>) -> oraclecloud::OracleCloudConfig {
    oraclecloud::OracleCloudConfig {
        tenancy_ocid: given.owned("tenancy"),
        user_ocid: given.owned("user"),
        fingerprint: given.owned("fingerprint"),
        private_key_pem: given.owned("secret"),
        private_key_password: None,
        region: given.owned("region"),
        compartment_ocid: given.owned("compartment"),
        request_timeout: PATIENCE,
    }
}

fn ovh_endpoint(given: &Given<'_>) -> Made<ovh::OvhEndpoint> {
    given.maybe("endpoint").map_or(Ok(ovh::OvhEndpoint::OvhEu), str::parse)
}

fn route53(given: &Given<'_>) -> route53::Route53Config {
    route53::Route53Config {
        access_key_id: given.owned("key"),
        secret_access_key: given.owned("secret"),
        session_token: None,
        region: None,
        hosted_zone_id: given.maybe("hosted_zone").map(str::to_owned),
        private_zone_only: None,
        endpoint: None,
    }
}

fn volcengine(given: &Given<'_>) -> volcengine::VolcengineConfig {
    volcengine::VolcengineConfig {
        access_key: given.owned("key"),
        secret_key: given.owned("secret"),
        region: None,
        host: None,
        scheme: None,
        request_timeout: PATIENCE,
    }
}

fn yandex(given: &Given<'_>) -> yandexcloud::YandexCloudConfig {
    yandexcloud::YandexCloudConfig {
        iam_token_b64: BASE64_STANDARD.encode(given.get("secret")),
        folder_id: given.owned("folder"),
        request_timeout: PATIENCE,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::DNS_PROVIDERS;
    use crate::config::model::{Secret, Zones};

    /// A key that opens nothing.
    fn private_key() -> String {
        rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem()
    }

    #[test]
    fn every_provider_is_made_of_what_the_config_asks_for() {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names, DNS_PROVIDERS.iter().map(|needs| needs.name).collect::<Vec<_>>());
        for (row, needs) in ROWS.iter().zip(DNS_PROVIDERS) {
            let given: BTreeMap<_, _> = needs
                .always
                .iter()
                .map(|key| match (row.name, key.name()) {
                    ("oraclecloud", "secret") => ("secret", Secret::new(private_key().as_bytes())),
                    (_, name) => (name, Secret::new(b"any-1")),
                })
                .collect();
            let provider = DnsProvider { name: row.name, given, zones: Zones::default() };
            if let Err(error) = (row.make)(&Given(&provider)) {
                panic!("{}: {error}", row.name);
            }
        }
    }
}
