//! Asking the machine's servers: as a good stub does, with ids and ports that nobody guesses.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::conf::Conf;
use super::secure::{Secure, framed};
use crate::policy::{Asking, Server};

/// Questions under way at once; more wait their turn (I8).
const UNDER_WAY_MAX: usize = 64;
/// Bytes of an answer over UDP; what all paths carry unfragmented (DNS flag day 2020).
const DATAGRAM_MAX: u16 = 1232;
/// Datagrams that are looked at for one question: what is not the answer is dropped, but not for ever.
const STRAY_MAX: usize = 64;
/// How long one lookup may take in all.
const WHOLE: Duration = Duration::from_secs(20);

/// The servers.
pub(super) struct Upstream {
    servers: Vec<Server>,
    secure: Option<Secure>,
    timeout: Duration,
    attempts: u32,
    slots: Semaphore,
}

impl Upstream {
    pub(super) fn new(conf: &Conf, own: &[Server], secure: Option<Secure>) -> Self {
        let plain = |address: &SocketAddr| Server {
            address: *address,
            how: Asking::Plain,
        };
        Self {
            servers: if own.is_empty() {
                conf.servers.iter().map(plain).collect()
            } else {
                own.to_vec()
            },
            secure,
            timeout: conf.timeout,
            attempts: conf.attempts,
            slots: Semaphore::new(UNDER_WAY_MAX),
        }
    }

    /// The answer of the first server that has one (NOERROR or NXDOMAIN); nothing when none has.
    pub(super) async fn ask(&self, name: &str, kind: RecordType) -> Option<Message> {
        let end = Instant::now() + WHOLE;
        let _slot = timeout_at(end, self.slots.acquire()).await.ok()?.ok()?;
        let query = Query::query(Name::from_ascii(format!("{name}.")).ok()?, kind);
        for _ in 0..self.attempts {
            for server in &self.servers {
                let end = end.min(Instant::now() + self.timeout);
                if let Ok(Some(message)) = timeout_at(end, self.ask_one(server, &query)).await {
                    return Some(message);
                }
            }
        }
        None
    }

    async fn ask_one(&self, server: &Server, query: &Query) -> Option<Message> {
        let mut id = [0u8; 2];
        getrandom::fill(&mut id).ok()?;
        let id = u16::from_be_bytes(id);
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(query.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(DATAGRAM_MAX);
        message.edns = Some(edns);
        let question = message.to_vec().ok()?;
        let answer = match &server.how {
            Asking::Plain => {
                let answer = over_udp(server.address, &question, id, query).await?;
                match answer.metadata.truncation {
                    true => over_tcp(server.address, &question, id, query).await?,
                    false => answer,
                }
            }
            Asking::Tls(_) | Asking::Https(..) => match self.secure.as_ref()?.ask(server, &question).await {
                Ok(bytes) => read(&bytes, id, query)?,
                Err(error) => {
                    tracing::debug!(%error, server = %server.address, "a resolver did not answer");
                    return None;
                }
            },
        };
        matches!(
            answer.metadata.response_code,
            ResponseCode::NoError | ResponseCode::NXDomain
        )
        .then_some(answer)
    }
}

/// An answer to this very question; anything else is somebody's guess.
fn read(bytes: &[u8], id: u16, query: &Query) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    let same = |asked: &Query| {
        asked.name().eq_ignore_root(query.name())
            && asked.query_type() == query.query_type()
            && asked.query_class() == query.query_class()
    };
    (message.metadata.message_type == MessageType::Response
        && message.metadata.id == id
        && matches!(message.queries.as_slice(), [asked] if same(asked)))
    .then_some(message)
}

async fn over_udp(server: SocketAddr, question: &[u8], id: u16, query: &Query) -> Option<Message> {
    let any: SocketAddr = if server.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    // A socket and so a port for each question; connected, so that only the server's datagrams arrive.
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(server).await.ok()?;
    socket.send(question).await.ok()?;
    let mut bytes = vec![0u8; 4096];
    for _ in 0..STRAY_MAX {
        let len = socket.recv(&mut bytes).await.ok()?;
        if let Some(message) = read(bytes.get(..len)?, id, query) {
            return Some(message);
        }
    }
    None
}

async fn over_tcp(server: SocketAddr, question: &[u8], id: u16, query: &Query) -> Option<Message> {
    let mut stream = TcpStream::connect(server).await.ok()?;
    let bytes = framed(&mut stream, question).await.ok()?;
    read(&bytes, id, query)
}
