//! The program before two real nginx with a real static site: what clients and
//! a browser get, and what the origin servers see of it.

mod automatic;
mod browser;
mod demo;
mod lost_origin;
mod whole_site;

use std::path::Path;

use super::support::nginx::Nginx;
use super::support::process::Seawall;

/// Two origin servers with the same site, and the program before them.
struct Edge {
    seawall: Seawall,
    origins: [Nginx; 2],
}

impl Edge {
    /// Starts all three; `tables` follow those of the site `localhost`.
    async fn start(root: &Path, tables: &str) -> Self {
        let origins = [Nginx::start(root).await, Nginx::start(root).await];
        let [one, other] = origins.each_ref().map(|origin| origin.address);
        let seawall = Seawall::start(&format!(
            r#"
[cache]
memory = "512MiB"
[site."localhost"]
origins = ["{one}", "{other}"]
tls = "internal"
{tables}"#
        ))
        .await;
        Self { seawall, origins }
    }

    /// How many requests reached the origin servers so far.
    fn origin_requests(&self) -> usize {
        self.origins.iter().map(|origin| origin.requests().len()).sum()
    }
}
