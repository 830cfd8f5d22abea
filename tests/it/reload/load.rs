//! Reloads while clients ask without a pause.

use super::*;
use crate::support::load::{Kept, Load};

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
    let load = Load::begin(seawall.https, &seawall.ca(), Kept::Always);
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
