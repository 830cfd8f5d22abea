//! What the process may do: no memory dump and no further rights in any case, and with
//! `user` nothing of root but low ports.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};

use nix::unistd::User;
use rustix::process::geteuid;

use super::support::origin::{FixedOrigin, Origin, ok};
use super::support::process::{Place, Seawall, command, finished, words};
use super::support::raw::RawClient;

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

/// A user that every machine has.
const USER: &str = "nobody";

/// The user to become; `None`, which is said, where only root could.
fn other_user() -> Option<User> {
    if !geteuid().is_root() {
        eprintln!("privileges: only root can start a process that becomes another user");
        return None;
    }
    User::from_name(USER).unwrap()
}

/// Gives the directory of the log and the sockets to `user`.
fn give(place: &Place, user: &User) {
    chown(place.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Before one origin server, with `keys` of the config.
async fn edge(keys: &str, prepare: impl FnOnce(&Place)) -> (Seawall, FixedOrigin) {
    let origin = Origin::answering(ok("Cache-Control: no-store\r\n", "hello")).await;
    let place = Place::new();
    let (address, cache) = (origin.address, place.path().join("made/cache"));
    place.configure(&format!(
        "{keys}\n[cache]\ndisk = {{ path = \"{}\", size = \"64MiB\" }}\n[site.\"site.test\"]\n\
         origins = [\"{address}\"]\nhealth = false\ntls = \"internal\"\nredirect_http = false\n",
        cache.display()
    ));
    prepare(&place);
    (place.run().await, origin)
}

/// What the kernel says of every thread of the process under `key`.
fn of_threads(seawall: &Seawall, key: &str) -> Vec<String> {
    let tasks = format!("/proc/{}/task", seawall.pid().as_raw_nonzero());
    let read = |task: io::Result<fs::DirEntry>| {
        // Some have ended meanwhile.
        let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let mut said: Vec<String> = fs::read_dir(tasks).unwrap().filter_map(read).collect();
    said.sort();
    said.dedup();
    said
}

fn core_limit(seawall: &Seawall) -> String {
    let limits = fs::read_to_string(format!("/proc/{}/limits", seawall.pid().as_raw_nonzero())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    line.split_whitespace().skip(4).take(2).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn there_is_no_memory_dump_and_no_further_right() {
    let (seawall, _origin) = edge("", |_| {}).await;
    assert_eq!(of_threads(&seawall, "NoNewPrivs:"), ["1"]);
    assert_eq!(core_limit(&seawall), "0 0");
}

#[tokio::test]
async fn started_as_root_it_becomes_the_user() {
    let Some(nobody) = other_user() else { return };
    let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    // What is below is made by the program.
    let (mut seawall, _origin) = edge(&format!("user = \"{USER}\""), |place| give(place, &nobody)).await;
    for _ in 0..2 {
        assert_eq!(RawClient::ask(seawall.http, GET).await.status(), 200);
        assert_eq!(of_threads(&seawall, "Uid:"), [format!("{uid} {uid} {uid} {uid}")]);
        assert_eq!(of_threads(&seawall, "Gid:"), [format!("{gid} {gid} {gid} {gid}")]);
        assert_eq!(of_threads(&seawall, "Groups:"), [gid.to_string()]);
        for rights in ["CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(of_threads(&seawall, rights), ["0000000000000400"], "{rights} but for low ports");
        }
        assert_eq!(of_threads(&seawall, "NoNewPrivs:"), ["1"]);
        // The next process is not started as root, and has the same.
        let output = seawall.upgrade().await;
        assert!(output.status.success(), "{}", words(&output));
    }
    assert!(seawall.metric("seawall_disk_errors_total").await == Some(0), "the disk is the user's");
}

#[tokio::test]
async fn a_config_that_only_root_can_read_is_warned_of() {
    let Some(nobody) = other_user() else { return };
    for (mode, warned) in [(0o644, false), (0o600, true)] {
        let (seawall, _origin) = edge(&format!("user = \"{USER}\""), |place| {
            give(place, &nobody);
            fs::set_permissions(place.config(), fs::Permissions::from_mode(mode)).unwrap();
        })
        .await;
        assert_eq!(seawall.diagnostics().contains("no reload and no upgrade"), warned, "{mode:o}");
    }
}

#[tokio::test]
async fn a_user_that_cannot_be_become_is_told() {
    let place = Place::new();
    let site = "[site.\"a.test\"]\norigins = [\"127.0.0.1:1\"]\nhealth = false\n";
    let mut wrong = vec![("nobody-of-that-name", "the machine has no user nobody-of-that-name")];
    if !geteuid().is_root() {
        wrong.push(("daemon", "only root can become the user daemon"));
    }
    for (user, why) in wrong {
        place.configure(&format!("user = \"{user}\"\n{site}"));
        let output = finished(&mut command(&["run", "-c", place.config().to_str().unwrap()])).await;
        assert!(!output.status.success() && words(&output).contains(why), "{}", words(&output));
    }
}
