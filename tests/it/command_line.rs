//! What the program says to a user: every command, what is wrong and where, and
//! with which exit code it ends.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use super::support::origin::{Origin, ok};
use super::support::process::{Place, Running, Seawall, command, finished, output, words};
use super::support::{eventually, ports};

const SITE: &str = "[site.\"site.test\"]\norigins = [\"127.0.0.1:9\"]\nhealth = false\n";

/// Runs `seawall run` with `tables` where it must not start; what it said.
async fn refused(place: &Place, tables: &str) -> String {
    place.configure(tables);
    let output = output(&["run", "-c", place.config().to_str().unwrap()]).await;
    assert_eq!((output.status.code(), words(&output).contains("panicked")), (Some(1), false));
    words(&output)
}

/// A port that somebody else listens on.
fn taken() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn without_arguments_it_explains_itself() {
    let output = output(&[]).await;
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true));
    for part in ["Usage: seawall <COMMAND>", "run ", "serve ", "check ", "demo ", "Examples:"] {
        assert!(words(&output).contains(part), "{part} is not in\n{}", words(&output));
    }
}

#[tokio::test]
async fn every_command_has_help() {
    for command in [
        "run", "serve", "check", "demo", "status", "origins", "certs", "metrics", "explain", "cache",
        "purge", "plan", "reload", "drain",
    ] {
        let output = output(&[command, "--help"]).await;
        assert!(output.status.success(), "{command}");
        assert!(words(&output).contains(&format!("Usage: seawall {command}")), "{}", words(&output));
    }
}

#[tokio::test]
async fn the_version_is_the_package_s() {
    let output = output(&["--version"]).await;
    assert!(output.status.success());
    assert_eq!(words(&output).trim(), concat!("seawall ", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn every_error_of_a_configuration_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("seawall.toml");
    let text = "stat_dir = \"/tmp\"\n[limits]\nidle_timeout = 75\n[site.\"a.test\"]\npool = \"nowhere\"\n";
    fs::write(&file, text).unwrap();
    for command in ["check", "run"] {
        let output = output(&[command, "-c", file.to_str().unwrap()]).await;
        let said = words(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for place in ["seawall.toml:1:1", "seawall.toml:3:16", "seawall.toml:5:8"] {
            assert!(said.contains(place), "{place} is not in\n{said}");
        }
        assert!(said.contains("state_dir"), "a wrong key comes with the right one:\n{said}");
    }
}

#[tokio::test]
async fn a_warning_before_an_error_stays_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("seawall.toml");
    let unused = "[pool.spare]\norigins = [\"127.0.0.1:9\"]\n";
    fs::write(&file, format!("{unused}{SITE}wrong = 1\n")).unwrap();
    let output = output(&["check", "-c", file.to_str().unwrap()]).await;
    let said = words(&output);
    assert!(said.starts_with("warning: "), "{said}");
    assert!(said.contains("\nerror: unknown key `wrong`"), "{said}");
}

#[tokio::test]
async fn a_right_configuration_is_said_to_be_right() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("seawall.toml");
    fs::write(&file, SITE).unwrap();
    let output = output(&["check", "-c", file.to_str().unwrap()]).await;
    assert_eq!(words(&output), format!("{} is valid: 1 site, 1 origin server\n", file.display()));
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_is_named() {
    let output = output(&["run", "-c", "/nowhere/seawall.toml"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("/nowhere/seawall.toml"), "{}", words(&output));
}

#[tokio::test]
async fn serve_prints_the_configuration_it_stands_for_if_it_is_one() {
    let right = output(&["serve", "example.com", "--to", "10.0.0.1:80,10.0.0.2:80", "--print-config"]).await;
    let text = "[site.\"example.com\"]\norigins = [\"10.0.0.1:80\", \"10.0.0.2:80\"]\n";
    assert_eq!((right.status.code(), words(&right).as_str()), (Some(0), text));

    let wrong = output(&["serve", "two words", "--to", "10.0.0.1:80", "--print-config"]).await;
    assert_eq!((wrong.status.code(), wrong.stdout.is_empty()), (Some(1), true));
    assert!(words(&wrong).contains("error: invalid name of a site"), "{}", words(&wrong));
}

#[tokio::test]
async fn an_address_in_use_is_named_whatever_it_is_for() {
    let (_listener, taken) = taken();
    let metrics = format!("admin.metrics = \"{taken}\"\n{SITE}");
    let said = refused(&Place::new(), &metrics).await;
    assert!(said.contains(&format!("{taken} for admin.metrics: the port is taken")), "{said}");
    let (mut http, mut https) = (Place::new(), Place::new());
    (http.http, https.https) = (taken, taken);
    for place in [http, https] {
        let said = refused(&place, SITE).await;
        assert!(said.contains(&format!("error: cannot listen on {taken}: the port is taken")), "{said}");
    }
}

#[tokio::test]
async fn a_second_one_with_the_same_configuration_leaves_the_first_alone() {
    let seawall = Seawall::start(SITE).await;
    let config = seawall.directory().join("seawall.toml");
    let second = output(&["run", "-c", config.to_str().unwrap()]).await;
    assert_eq!(second.status.code(), Some(1));
    assert!(words(&second).contains("error: another seawall runs already"), "{}", words(&second));
    assert!(seawall.ask("status", &[]).await.status.success());
}

#[tokio::test]
async fn a_state_directory_that_others_write_to_is_refused() {
    let place = Place::new();
    let state = place.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    let said = refused(&place, SITE).await;
    assert!(said.contains(&format!("chmod go-w {}", state.display())), "{said}");
    assert!(fs::read_dir(&state).unwrap().next().is_none(), "nothing is put there");
}

#[tokio::test]
async fn root_is_told_that_it_should_not_be() {
    let mut seawall = Seawall::start(SITE).await;
    seawall.terminate();
    seawall.exit().await;
    let is_root = fs::metadata(seawall.directory().join("access.log")).unwrap().uid() == 0;
    assert_eq!(seawall.read("stderr").contains("running as root"), is_root, "{}", seawall.read("stderr"));
}

#[tokio::test]
async fn a_running_edge_is_looked_into_and_told_to_end() {
    let origin = Origin::answering(ok("", "hello")).await;
    let address = origin.address;
    let mut seawall = Seawall::start(&format!("[site.\"site.test\"]\norigins = [\"{address}\"]\n")).await;
    let config = seawall.directory().join("seawall.toml");
    for (command, expected) in [
        ("status", format!("config       {}, generation 1", config.display())),
        ("origins", format!("site:site.test  {address}")),
        ("certs", "site.test\n  names         site.test\n  issuer        internal\n".to_owned()),
        ("metrics", "# TYPE seawall_requests_total counter".to_owned()),
    ] {
        let output = seawall.ask(command, &[]).await;
        assert!(output.status.success(), "{command}");
        assert!(words(&output).contains(&expected), "{command}:\n{}", words(&output));
    }
    for command in ["status", "origins", "certs"] {
        let output = seawall.ask(command, &["--json"]).await;
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect(command);
    }
    let drain = seawall.ask("drain", &[]).await;
    assert_eq!(words(&drain), "the edge takes no new connections, finishes its exchanges and ends\n");
    assert_eq!(seawall.exit().await.code(), Some(0));

    let output = seawall.ask("status", &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("error: no seawall answers on the admin socket"), "{}", words(&output));
}

#[tokio::test]
async fn without_a_configuration_the_edge_of_serve_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = command(&["status"]);
    command.env("STATE_DIRECTORY", directory.path()).current_dir(directory.path());
    let output = finished(&mut command).await;
    let socket = directory.path().join("admin.sock");
    // A machine with a configuration in /etc is asked by that one.
    let has_one = Path::new("/etc/seawall/seawall.toml").exists();
    assert!(has_one || words(&output).contains(socket.to_str().unwrap()), "{}", words(&output));
}

#[tokio::test]
async fn a_reader_that_has_enough_is_no_error() {
    let seawall = Seawall::start(SITE).await;
    let config = seawall.directory().join("seawall.toml");
    let mut command = command(&["metrics", "-c", config.to_str().unwrap()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Running::spawn(&mut command);
    drop(child.0.stdout.take());
    let status = eventually("the end", || child.0.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn the_demo_names_its_flags_where_a_port_cannot_be_had() {
    let (_listener, taken) = taken();
    let (taken, free) = (taken.port().to_string(), ports::free_address().port().to_string());
    let state = tempfile::tempdir().unwrap();
    let state = state.path().to_str().unwrap();
    for (http, https, expected) in [
        (&taken, &free, format!("127.0.0.1:{taken}: the port is taken by another process; --http-port")),
        (&free, &taken, format!("127.0.0.1:{taken}: the port is taken by another process; --http-port")),
        (&free, &free, format!("port {free} is asked for http and for https")),
    ] {
        let flags = ["demo", "--http-port", http, "--https-port", https, "--state-dir", state];
        let output = output(&flags).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(words(&output).contains(&expected), "{}", words(&output));
    }
    let output = output(&["demo", "--state-dir", "/dev/null/x"]).await;
    assert!(words(&output).starts_with("error: cannot make /dev/null/x "), "{}", words(&output));
}
