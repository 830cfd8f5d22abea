//! What of TLS is spoken, as openssl sees it, which can do all the rest, too.

use std::process::{Command, Output};

use super::support::process::{Seawall, finished, words};

/// Ways to encrypt that stand alone and have a key exchange that forgets.
const TAKEN: [&str; 6] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

async fn s_client(seawall: &Seawall, arguments: &[&str]) -> Output {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &seawall.https.to_string(), "-servername", "site.test"]);
    finished(command.arg("-CAfile").arg(seawall.ca()).args(arguments)).await
}

async fn seawall() -> Seawall {
    Seawall::start("[site.\"site.test\"]\norigins = [\"127.0.0.1:9\"]\nhealth = false\n").await
}

/// Every cipher suite that openssl knows.
async fn all_suites() -> Vec<String> {
    let listed = finished(Command::new("openssl").args(["ciphers", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"])).await;
    words(&listed).trim().split(':').map(str::to_owned).collect()
}

#[tokio::test]
async fn nothing_is_spoken_but_what_is_thought_safe() {
    let (seawall, suites) = (seawall().await, all_suites().await);
    assert!(suites.len() > 60, "{suites:?}");
    for suite in &suites {
        let said = match suite.starts_with("TLS_") {
            true => s_client(&seawall, &["-tls1_3", "-ciphersuites", suite]).await,
            false => s_client(&seawall, &["-tls1_2", "-cipher", &format!("{suite}:@SECLEVEL=0")]).await,
        };
        let is_taken = words(&said).contains(&format!("Cipher is {suite}\n"));
        assert_eq!(is_taken, TAKEN.contains(&suite.as_str()), "{suite}: {}", words(&said));
    }
    for version in ["-tls1", "-tls1_1"] {
        let said = s_client(&seawall, &[version, "-cipher", "ALL:@SECLEVEL=0"]).await;
        assert!(words(&said).contains("Cipher is (NONE)"), "{version}: {}", words(&said));
    }
}

#[tokio::test]
async fn the_certificate_is_believed_and_no_early_data_taken() {
    let seawall = seawall().await;
    for version in ["-tls1_2", "-tls1_3"] {
        let said = words(&s_client(&seawall, &[version, "-verify_return_error", "-alpn", "h2"]).await);
        assert!(said.contains("Verify return code: 0 (ok)") && said.contains("ALPN protocol: h2"), "{said}");
        // TLS 1.3 knows none.
        assert!(version == "-tls1_3" || said.contains("Secure Renegotiation IS supported"), "{said}");
        assert!(!said.contains("Max Early Data") || said.contains("Max Early Data: 0"), "{said}");
    }
}
