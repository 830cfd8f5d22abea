//! Another config while the program runs: what is under way ends as it began,
//! what comes next is served as the new one says, and a wrong one changes nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use http::StatusCode;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::support::acme_server::{AcmeServer, Options};
use super::support::client::{Alpn, Client};
use super::support::origin::{Origin, ok};
use super::support::process::{Place, Seawall, words};
use super::support::raw::RawClient;
use super::support::websocket::tunnel;
use super::support::{eventually, ports, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

/// A site without TLS before one origin server.
fn site(origin: SocketAddr) -> String {
    format!("[site.\"site.test\"]\norigins = [\"{origin}\"]\nhealth = false\ntls = \"off\"\n")
}

/// What is not stored, so that every request goes to an origin server.
fn personal(content: &str) -> String {
    ok("Cache-Control: no-store\r\n", content)
}

/// Has `seawall` go on with `tables`; what it said to that.
async fn reload(seawall: &Seawall, tables: &str) -> Output {
    seawall.place.configure(tables);
    seawall.ask("reload", &[]).await
}

/// The same, which must come into force.
async fn reloaded(seawall: &Seawall, tables: &str) -> String {
    let output = reload(seawall, tables).await;
    assert!(output.status.success(), "{}", words(&output));
    words(&output)
}

async fn content(seawall: &Seawall) -> String {
    let res = RawClient::ask(seawall.http, GET).await;
    assert_eq!(res.status(), 200);
    String::from_utf8(res.content).unwrap()
}

async fn generation(seawall: &Seawall) -> u64 {
    let said = seawall.ask("status", &["--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    status["generation"].as_u64().unwrap()
}

#[tokio::test]
async fn the_next_request_of_a_connection_is_served_as_the_new_config_says() {
    let origins = [Origin::answering(personal("old")).await, Origin::answering(personal("new")).await];
    let seawall = Seawall::start(&site(origins[0].address)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    assert_eq!(client.response().await.content, b"old");

    let said = reloaded(&seawall, &site(origins[1].address)).await;
    assert!(said.contains(&format!("~ site site.test: origins +{}", origins[1].address)), "{said}");
    client.send(GET).await;
    assert_eq!(client.response().await.content, b"new");
    assert_eq!(generation(&seawall).await, 2);
    seawall.metric_is("seawall_config_generation", 2).await;
}

#[tokio::test]
async fn an_answer_under_way_ends_as_it_began() {
    let mut old = Origin::start().await;
    let new = Origin::answering(personal("new")).await;
    let seawall = Seawall::start(&site(old.address)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let mut arrival = old.next().await;
    arrival.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;

    reloaded(&seawall, &site(new.address)).await;
    assert_eq!(content(&seawall).await, "new");
    arrival.send(" last").await;
    assert_eq!(client.response().await.content, b"first last");
}

#[tokio::test]
async fn a_request_that_waits_for_its_answer_gets_it_from_where_it_was_sent() {
    let mut old = Origin::start().await;
    let new = Origin::answering(personal("new")).await;
    let seawall = Seawall::start(&site(old.address)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send("POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 4\r\n\r\nonce").await;
    let arrival = old.next().await;

    reloaded(&seawall, &site(new.address)).await;
    arrival.answer(personal("done")).await;
    assert_eq!(client.response().await.content, b"done");
    assert_eq!(new.requests(), 0);
}

#[tokio::test]
async fn a_tunnel_outlives_the_site_it_leads_to() {
    let mut origin = Origin::start().await;
    let seawall = Seawall::start(&site(origin.address)).await;
    let (client, mut server) = tunnel(&seawall, &mut origin).await;
    let mut client = client.into_stream();

    reloaded(&seawall, &site(origin.address).replace("site.test", "other.test")).await;
    assert_eq!(RawClient::ask(seawall.http, GET).await.status(), 404);
    for _ in 0..2 {
        let mut received = [0; 4];
        client.write_all(b"ping").await.unwrap();
        within("a message", server.read_exact(&mut received)).await.unwrap();
        assert_eq!(&received, b"ping");
        server.write_all(b"pong").await.unwrap();
        within("a message", client.read_exact(&mut received)).await.unwrap();
        assert_eq!(&received, b"pong");
    }
}

#[tokio::test]
async fn a_wrong_config_names_its_place_and_changes_nothing() {
    let origin = Origin::answering(personal("as before")).await;
    let seawall = Seawall::start(&site(origin.address)).await;
    let wrong = site(origin.address).replace("site.test", "other.test").replace("health", "helth");
    let output = reload(&seawall, &wrong).await;
    assert_eq!(output.status.code(), Some(1));
    let said = words(&output);
    assert!(said.contains("seawall.toml:8:1\n"), "{said}");
    assert!(said.contains("helth") && said.contains("health"), "{said}");
    assert_eq!((content(&seawall).await, generation(&seawall).await), ("as before".to_owned(), 1));
    seawall.metric_is("seawall_reloads_failed_total", 1).await;

    // The signal says it in the log.
    seawall.signal(Signal::HUP);
    eventually("the log says why", || seawall.diagnostics().contains("seawall.toml:8:1").then_some(())).await;
    seawall.metric_is("seawall_reloads_failed_total", 2).await;
    assert_eq!((content(&seawall).await, generation(&seawall).await), ("as before".to_owned(), 1));
}

#[tokio::test]
async fn a_config_that_cannot_come_into_force_as_a_whole_does_not_in_part() {
    let origins = [Origin::answering(personal("as before")).await, Origin::answering(personal("new")).await];
    let mut seawall = Seawall::start(&site(origins[0].address)).await;
    let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
    let (http, free) = (seawall.http, ports::free_address());

    seawall.place.https = free;
    seawall.place.http = somebody.local_addr().unwrap();
    let output = reload(&seawall, &site(origins[1].address)).await;
    assert!(!output.status.success() && words(&output).contains("taken"), "{}", words(&output));
    assert_eq!((content(&seawall).await, generation(&seawall).await), ("as before".to_owned(), 1));
    assert!(TcpListener::bind(free).is_ok(), "nothing is left of what was bound");

    seawall.place.http = http;
    seawall.place.https = seawall.https;
    let unreadable = "tls = { certificate = \"none.pem\", key = \"none.pem\" }";
    let output = reload(&seawall, &site(origins[1].address).replace("tls = \"off\"", unreadable)).await;
    assert!(!output.status.success() && words(&output).contains("none.pem"), "{}", words(&output));
    assert_eq!((content(&seawall).await, generation(&seawall).await), ("as before".to_owned(), 1));
}

#[tokio::test]
async fn listeners_come_and_go_in_place() {
    let origin = Origin::answering(personal("hello")).await;
    let mut seawall = Seawall::start(&site(origin.address)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    assert_eq!(client.response().await.status(), 200);
    let old = seawall.http;
    seawall.http = ports::free_address();
    seawall.place.http = seawall.http;
    let said = reloaded(&seawall, &site(origin.address)).await;
    assert!(said.contains(&format!("+ listener http {}", seawall.http)), "{said}");
    assert!(said.contains(&format!("- listener http {old}")), "{said}");
    assert_eq!(content(&seawall).await, "hello");
    eventually("the old one is closed", || std::net::TcpStream::connect(old).err()).await;
    client.send(GET).await;
    assert_eq!(client.response().await.status(), 200, "a connection that came in there goes on");
}

#[tokio::test]
async fn a_listener_moves_to_an_address_that_holds_its_own() {
    let origin = Origin::answering(personal("hello")).await;
    let mut seawall = Seawall::start(&site(origin.address)).await;
    let (http, https) = (seawall.http, seawall.https);
    for (wider, other) in [("0.0.0.0", "[::]"), ("[::]", "127.0.0.1"), ("127.0.0.1", "0.0.0.0")] {
        seawall.place.http = format!("{wider}:{}", http.port()).parse().unwrap();
        seawall.place.https = format!("{other}:{}", https.port()).parse().unwrap();
        let said = reloaded(&seawall, &site(origin.address)).await;
        assert!(said.contains(&format!("+ listener http {}", seawall.place.http)), "{said}");
        assert_eq!(content(&seawall).await, "hello");
    }
    // Each takes the place of the other.
    (seawall.place.http, seawall.place.https) = (https, http);
    reloaded(&seawall, &site(origin.address)).await;
    seawall.http = https;
    eventually("nothing but HTTP is spoken there", || {
        let mut stream = std::net::TcpStream::connect(https).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream.write_all(GET.replace("site.test", "none.test").as_bytes()).ok()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).ok()?;
        (&head == b"HTTP/1.1 404").then_some(())
    })
    .await;
    assert_eq!(content(&seawall).await, "hello");
}

#[tokio::test]
async fn an_edge_that_drains_takes_no_other_config() {
    let mut old = Origin::start().await;
    let new = Origin::answering(personal("new")).await;
    let seawall = Seawall::start(&site(old.address)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let arrival = old.next().await;
    assert!(seawall.ask("drain", &[]).await.status.success());
    eventually("it drains", || std::net::TcpStream::connect(seawall.http).err()).await;

    let output = reload(&seawall, &site(new.address)).await;
    assert!(!output.status.success() && words(&output).contains("draining"), "{}", words(&output));
    assert_eq!(generation(&seawall).await, 1);
    arrival.answer(personal("old")).await;
    assert_eq!(client.response().await.content, b"old");
}

#[tokio::test]
async fn a_new_site_has_its_certificate_and_connections_that_are_there_stay() {
    let origin = Origin::answering(personal("hello")).await;
    let address = origin.address;
    let internal = |names: &[&str]| -> String {
        let site = |name| {
            format!("[site.\"{name}\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"internal\"\n")
        };
        names.iter().map(site).collect()
    };
    let seawall = Seawall::start(&internal(&["one.test"])).await;
    let mut before = Client::connect(seawall.https, &seawall.ca(), "one.test", Alpn::H2).await;
    assert_eq!(before.get("/").await.status(), 200);
    let said = reloaded(&seawall, &internal(&["one.test", "two.test"])).await;
    assert!(said.contains("+ site two.test"), "{said}");
    let mut new = Client::connect(seawall.https, &seawall.ca(), "two.test", Alpn::H1).await;
    assert_eq!(new.get("/").await.status(), 200);
    let mut again = Client::connect(seawall.https, &seawall.ca(), "one.test", Alpn::H2).await;
    assert_eq!(again.certificate, before.certificate, "what is stored is used again");
    assert_eq!(
        (before.get("/").await.status(), again.get("/").await.status()),
        (StatusCode::OK, StatusCode::OK)
    );
}

#[tokio::test]
async fn a_plan_tells_what_a_reload_would_change_and_changes_nothing() {
    let origin = Origin::answering(personal("hello")).await;
    let seawall = Seawall::start(&site(origin.address)).await;
    let plan = async || words(&seawall.ask("plan", &[]).await);
    assert_eq!(plan().await, "nothing changes\n");
    let other = site(origin.address).replace("site.test", "other.test");
    seawall.place.configure(&format!("limits.body = \"1MiB\"\n{other}"));
    let said = plan().await;
    for line in ["+ site other.test", "- site site.test", "~ limits: body"] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert_eq!((content(&seawall).await, generation(&seawall).await), ("hello".to_owned(), 1));
    seawall.place.configure("nonsense = 1\n");
    let output = seawall.ask("plan", &[]).await;
    assert!(!output.status.success() && words(&output).contains("nonsense"), "{}", words(&output));
}

#[tokio::test]
async fn what_only_a_start_changes_is_said() {
    let origin = Origin::answering(personal("hello")).await;
    let seawall = Seawall::start(&site(origin.address)).await;
    seawall.place.configure(&site(origin.address));
    let text = fs::read_to_string(seawall.place.config()).unwrap().replace("workers = 2", "workers = 1");
    fs::write(seawall.place.config(), text).unwrap();
    let expected = "! only from the next start on: workers";
    assert!(words(&seawall.ask("plan", &[]).await).contains(expected));
    assert!(words(&seawall.ask("reload", &[]).await).contains(expected));
    assert!(words(&seawall.ask("plan", &[]).await).contains(expected), "it is still to come");
}

#[tokio::test]
async fn a_watched_config_is_read_anew_when_it_changes() {
    let origins = [Origin::answering(personal("old")).await, Origin::answering(personal("new")).await];
    let mut place = Place::new();
    place.arguments = &["--watch"];
    place.configure(&site(origins[0].address));
    let seawall = place.run().await;
    assert_eq!(content(&seawall).await, "old");
    seawall.place.configure(&site(origins[1].address));
    seawall.metric_is("seawall_reloads_total", 1).await;
    assert_eq!(content(&seawall).await, "new");
}

#[tokio::test]
async fn a_watched_config_that_changes_during_the_start_is_read_anew() {
    let origin = Origin::answering(personal("new")).await;
    let mut place = Place::new();
    place.arguments = &["--watch"];
    // What is stored of the site; the start waits until somebody writes into it.
    let slow = place.path().join("state/internal/old.test.pem");
    let private = fs::Permissions::from_mode(0o700);
    fs::create_dir_all(slow.parent().unwrap()).unwrap();
    fs::set_permissions(place.path().join("state"), private).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &slow, rustix::fs::Mode::RWXU).unwrap();
    place.configure(&site(origin.address).replace("site.test", "old.test").replace("off", "internal"));
    let config = place.config();
    let next =
        fs::read_to_string(&config).unwrap().replace("internal", "off").replace("old.test", "site.test");
    let changed = async {
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let open = || fs::OpenOptions::new().write(true).custom_flags(flags).open(&slow).ok();
        let mut waits = eventually("the start waits", open).await;
        fs::write(&config, next).unwrap();
        waits.write_all(b"nothing of use").unwrap();
    };
    let (seawall, ()) = tokio::join!(place.run(), changed);
    seawall.metric_is("seawall_reloads_total", 1).await;
    assert_eq!(content(&seawall).await, "new");
}

#[tokio::test]
async fn a_watched_config_is_found_behind_a_link_that_moves() {
    let origins = [Origin::answering(personal("old")).await, Origin::answering(personal("new")).await];
    let mut place = Place::new();
    place.arguments = &["--watch"];
    // As Kubernetes mounts a ConfigMap.
    for (version, origin) in ["..1", "..2"].into_iter().zip(&origins) {
        place.configure(&site(origin.address));
        fs::create_dir(place.path().join(version)).unwrap();
        fs::rename(place.config(), place.path().join(version).join("seawall.toml")).unwrap();
    }
    std::os::unix::fs::symlink("..1", place.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/seawall.toml", place.config()).unwrap();
    let seawall = place.run().await;
    assert_eq!(content(&seawall).await, "old");
    let aside = seawall.place.path().join("..data_tmp");
    std::os::unix::fs::symlink("..2", &aside).unwrap();
    fs::rename(&aside, seawall.place.path().join("..data")).unwrap();
    fs::remove_dir_all(seawall.place.path().join("..1")).unwrap();
    seawall.metric_is("seawall_reloads_total", 1).await;
    assert_eq!(content(&seawall).await, "new");
}

#[tokio::test]
async fn roots_for_origin_servers_are_read_anew() {
    // A server that speaks TLS.
    let server = AcmeServer::start(Options::default()).await;
    let directory: http::Uri = server.directory().parse().unwrap();
    let (origin, path) = (directory.authority().unwrap(), directory.path());
    let place = Place::new();
    let roots = place.path().join("roots.pem");
    fs::write(&roots, rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap().cert.pem()).unwrap();
    let tables = format!(
        "[pool.app]\norigins = [\"https://{origin}\"]\nhealth = false\n\
         tls = {{ ca = \"{}\", server_name = \"{}\" }}\n\
         [site.\"site.test\"]\npool = \"app\"\ntls = \"off\"\n",
        roots.display(),
        origin.host()
    );
    place.configure(&tables);
    let seawall = place.run().await;
    let get = GET.replacen('/', path, 1);
    assert_eq!(RawClient::ask(seawall.http, &get).await.status(), 502);
    fs::copy(server.root_file(), &roots).unwrap();
    reloaded(&seawall, &tables).await;
    assert_eq!(RawClient::ask(seawall.http, &get).await.status(), 200);
}

#[tokio::test]
async fn roots_for_acme_servers_are_read_anew() {
    let server = AcmeServer::start(Options::default()).await;
    let place = Place::new();
    let roots = place.path().join("roots.pem");
    fs::write(&roots, rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap().cert.pem()).unwrap();
    let tables = format!(
        "[acme]\ndirectory = [\"{}\"]\nca = \"{}\"\n\
         [site.\"www.example.test\"]\norigins = [\"127.0.0.1:9\"]\nhealth = false\ntls = \"auto\"\n",
        server.directory(),
        roots.display()
    );
    place.configure(&tables);
    let seawall = place.run().await;
    seawall.metric_is("seawall_certificate_failures_total", 1).await;
    fs::copy(server.root_file(), &roots).unwrap();
    reloaded(&seawall, &tables).await;
    eventually("a certificate", || (server.certificates().len() == 1).then_some(())).await;
}

#[tokio::test]
async fn what_is_stored_and_what_was_done_by_hand_stays() {
    let cached = Origin::answering(ok("Cache-Control: max-age=600\r\n", "stored")).await;
    let other = Origin::answering(ok("", "other")).await;
    let address = cached.address;
    let tables = |further: &str| {
        format!(
            "[pool.app]\norigins = [\"{address}\", \"{}\"]\nhealth = false\n{further}\n\
             [site.\"site.test\"]\npool = \"app\"\ntls = \"off\"\n",
            other.address
        )
    };
    let seawall = Seawall::start(&tables("")).await;
    let drained = seawall.ask("origins", &["drain", &other.address.to_string()]).await;
    assert!(drained.status.success(), "{}", words(&drained));
    assert_eq!(content(&seawall).await, "stored");
    for further in ["", "balance = \"round-robin\"\nslow_start = \"5s\"", "timeouts.connect = \"1s\""] {
        reloaded(&seawall, &format!("limits.body = \"1MiB\"\n{}", tables(further))).await;
        assert_eq!(content(&seawall).await, "stored");
        assert!(words(&seawall.ask("origins", &[]).await).contains("draining"), "{further}");
        // Nor is it asked for what is not stored.
        let res = RawClient::ask(seawall.http, GET.replace("/ ", &format!("/{} ", further.len()))).await;
        assert_eq!(res.content, b"stored");
    }
    assert_eq!((cached.requests(), other.requests()), (4, 0));
}

/// Clients that ask without a pause, over HTTP/1.1 and HTTP/2, on connections that
/// are kept and on new ones.
struct Load {
    answered: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn begin(https: SocketAddr, ca: &Path) -> Self {
        let (answered, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let client = |(alpn, is_kept): (Alpn, bool)| {
            let (answered, enough, ca) = (Arc::clone(&answered), Arc::clone(&enough), ca.to_owned());
            tokio::spawn(async move {
                let mut client = Client::connect(https, &ca, "site.test", alpn).await;
                while !enough.load(SeqCst) {
                    if !is_kept {
                        client = Client::connect(https, &ca, "site.test", alpn).await;
                    }
                    assert_eq!(client.get("/").await.status(), 200);
                    answered.fetch_add(1, SeqCst);
                }
            })
        };
        let kinds = [(Alpn::H1, true), (Alpn::H1, false), (Alpn::H2, true), (Alpn::H2, false)];
        let clients = kinds.into_iter().cycle().take(12).map(client).collect();
        Self { answered, enough, clients }
    }

    /// Waits for so many more answers.
    async fn goes_on(&self, more: usize) {
        let before = self.answered.load(SeqCst);
        let reached = || (self.answered.load(SeqCst) >= before + more).then_some(());
        eventually("answers under load", reached).await;
    }

    /// All that was asked was answered.
    async fn ends_well(self) {
        self.enough.store(true, SeqCst);
        for client in self.clients {
            within("a client", client).await.unwrap();
        }
    }
}

#[tokio::test]
async fn five_reloads_and_two_wrong_ones_under_load_lose_no_request() {
    let origins = [Origin::answering(personal("hello")).await, Origin::answering(personal("hello")).await];
    let [one, two] = origins.each_ref().map(|origin| origin.address);
    let tables = |pool: &str| {
        format!(
            "[pool.app]\n{pool}\nhealth = false\n[site.\"site.test\"]\npool = \"app\"\ntls = \"internal\"\n"
        )
    };
    let both = format!("origins = [\"{one}\", \"{two}\"]");
    let seawall = Seawall::start(&tables(&format!("origins = [\"{one}\"]"))).await;
    let load = Load::begin(seawall.https, &seawall.ca());
    load.goes_on(100).await;
    for next in [
        tables(&both),
        tables(&format!("origins = [\"{two}\"]")),
        "this is no config\n".to_owned(),
        format!("limits.idle_timeout = \"30s\"\n{}", tables(&format!("{both}\nbalance = \"round-robin\""))),
        tables(&both).replace("\"app\"", "\"none\""),
        tables(&both) + "[site.\"other.test\"]\npool = \"app\"\ntls = \"internal\"\n",
        tables(&format!("origins = [\"{one}\"]")),
    ] {
        let is_right = reload(&seawall, &next).await.status.success();
        assert_eq!(is_right, next.contains("[pool.app]") && !next.contains("none"), "{next}");
        load.goes_on(100).await;
    }
    load.ends_well().await;
    assert_eq!(generation(&seawall).await, 6);
    assert!(origins[1].requests() > 0);
}
