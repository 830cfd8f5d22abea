//! Reloads while clients ask without a pause.

use super::*;

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
