//! A DNS server on loopback, over UDP and TCP, that answers as a test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

/// What does not fit in so many bytes is cut over UDP.
const UDP_LIMIT: usize = 512;

/// What becomes of a question.
#[derive(Clone)]
pub(crate) enum Reply {
    /// The records of this name, or of another one where that is an alias.
    Records(Vec<RData>),
    /// An error.
    Code(ResponseCode),
    /// Nothing, ever.
    Silence,
}

type Zone = HashMap<(String, RecordType), Reply>;

/// A server that runs until it is dropped. A name that has nothing at all does
/// not exist.
pub(crate) struct DnsServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    listening: [JoinHandle<()>; 2],
}

struct Shared {
    zone: Zone,
    /// The lifetime of every record, in seconds.
    ttl: u32,
    asked: Vec<(String, RecordType, &'static str)>,
}

impl DnsServer {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let address = udp.local_addr().unwrap();
        let shared = Shared { zone: Zone::new(), ttl: 60, asked: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        let listening = [
            tokio::spawn(serve_udp(udp, Arc::clone(&shared))),
            tokio::spawn(serve_tcp(tcp, Arc::clone(&shared))),
        ];
        Self { address, shared, listening }
    }

    /// Has a question answered so from now on.
    pub(crate) fn set(&self, name: &str, kind: RecordType, reply: Reply) {
        self.shared.lock().unwrap().zone.insert((name.to_owned(), kind), reply);
    }

    /// Gives all records this lifetime, in seconds.
    pub(crate) fn set_ttl(&self, ttl: u32) {
        self.shared.lock().unwrap().ttl = ttl;
    }

    /// Has both kinds of addresses of a name answered so from now on.
    pub(crate) fn set_both(&self, name: &str, reply: &Reply) {
        [RecordType::A, RecordType::AAAA].into_iter().for_each(|kind| self.set(name, kind, reply.clone()));
    }

    /// Gives a service these hosts: priority, weight, port, name.
    pub(crate) fn set_service(&self, name: &str, hosts: &[(u16, u16, u16, &str)]) {
        use hickory_resolver::proto::rr::rdata::SRV;
        let srv = |(priority, weight, port, host): &(u16, u16, u16, &str)| {
            RData::SRV(SRV::new(*priority, *weight, *port, complete(host)))
        };
        self.set(name, RecordType::SRV, Reply::Records(hosts.iter().map(srv).collect()));
    }

    /// Gives a name these addresses, and no others.
    pub(crate) fn set_addresses(&self, name: &str, addresses: &[&str]) {
        for kind in [RecordType::A, RecordType::AAAA] {
            self.shared.lock().unwrap().zone.remove(&(name.to_owned(), kind));
        }
        let mut of_kind = HashMap::<_, Vec<_>>::new();
        for address in addresses {
            let data = match address.parse().unwrap() {
                std::net::IpAddr::V4(address) => RData::A(address.into()),
                std::net::IpAddr::V6(address) => RData::AAAA(address.into()),
            };
            of_kind.entry(data.record_type()).or_default().push(data);
        }
        of_kind.into_iter().for_each(|(kind, data)| self.set(name, kind, Reply::Records(data)));
    }

    /// Lets these authorities certify what is under a name.
    pub(crate) fn set_issuers(&self, name: &str, issuers: &[&str]) {
        let records = issuers.iter().map(|issuer| {
            use hickory_resolver::proto::rr::rdata::CAA;
            let mut caa = CAA::new_issue(false, None, Vec::new());
            caa.value = issuer.as_bytes().to_vec();
            RData::CAA(caa)
        });
        self.set(name, RecordType::CAA, Reply::Records(records.collect()));
    }

    /// What was asked so far: name, type, `udp` or `tcp`.
    pub(crate) fn asked(&self) -> Vec<(String, RecordType, &'static str)> {
        self.shared.lock().unwrap().asked.clone()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.listening.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    /// The SOA record of the nearest zone that there is at a name or above it.
    fn zone_of(&self, name: &str) -> Option<Record> {
        let above = std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, above)| above));
        above.into_iter().find_map(|name| match self.zone.get(&(name.to_owned(), RecordType::SOA)) {
            Some(Reply::Records(soa)) => Some(Record::from_rdata(complete(name), 60, soa.first()?.clone())),
            _ => None,
        })
    }

    /// The response to a query; `None` for silence.
    fn respond(&mut self, query: &[u8], over: &'static str) -> Option<Message> {
        let query = Message::from_vec(query).ok()?;
        let asked = query.queries.first()?.clone();
        let name = asked.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
        self.asked.push((name.clone(), asked.query_type(), over));
        let mut response = Message::response(query.metadata.id, query.metadata.op_code);
        response.metadata.recursion_available = true;
        response.add_query(asked.clone());
        let at = |kind| self.zone.get(&(name.clone(), kind));
        match at(asked.query_type()).or_else(|| at(RecordType::CNAME)) {
            Some(Reply::Silence) => return None,
            Some(Reply::Code(code)) => response.metadata.response_code = *code,
            Some(Reply::Records(all)) => {
                let record = |data: &RData| Record::from_rdata(asked.name().clone(), self.ttl, data.clone());
                response.add_answers(all.iter().map(record));
            }
            None if self.zone.keys().any(|(known, _)| *known == name) => {}
            None => response.metadata.response_code = ResponseCode::NXDomain,
        }
        if response.answers.is_empty() {
            response.add_authorities(self.zone_of(&name));
        }
        Some(response)
    }
}

async fn serve_udp(socket: UdpSocket, shared: Arc<Mutex<Shared>>) {
    let mut buffer = [0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let response = shared.lock().unwrap().respond(&buffer[..length], "udp");
        let Some(response) = response else { continue };
        let mut content = response.to_vec().unwrap();
        if content.len() > UDP_LIMIT {
            content = response.truncate().to_vec().unwrap();
        }
        socket.send_to(&content, from).await.unwrap();
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(answer_tcp(stream, Arc::clone(&shared)));
    }
}

async fn answer_tcp(mut stream: TcpStream, shared: Arc<Mutex<Shared>>) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; usize::from(length)];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        let response = shared.lock().unwrap().respond(&query, "tcp");
        let Some(response) = response else { continue };
        let content = response.to_vec().unwrap();
        let framed = [&u16::try_from(content.len()).unwrap().to_be_bytes()[..], &content].concat();
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}

/// An alias of a name.
pub(crate) fn alias(name: &str) -> Reply {
    use hickory_resolver::proto::rr::rdata::CNAME;
    Reply::Records(vec![RData::CNAME(CNAME(complete(name)))])
}

/// What a zone begins with.
pub(crate) fn soa() -> Reply {
    use hickory_resolver::proto::rr::rdata::SOA;
    let name = complete("ns.test");
    Reply::Records(vec![RData::SOA(SOA::new(name.clone(), name, 1, 60, 60, 60, 60))])
}

fn complete(name: &str) -> Name {
    Name::from_ascii(format!("{name}.")).unwrap()
}
