//! The session's resolver: answers the tree's questions on its own threads, so that a stuck server holds nobody but the asker.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};
use tokio::sync::{Semaphore, mpsc, watch};

use super::answers::{Answer, Cache};
use super::at_hand::AtHand;
use super::conf::{Conf, Hosts};
use super::local::{Local, Unnamed, finds_by_dns};
use super::nscd::Wanted;
use super::peers::{Askers, Peers};
use super::question::{Malformed, QUESTION_MAX, Question, addresses};
use super::secure::Secure;
use super::upstream::Upstream;
use super::{Judge, lock};
use crate::policy::Server;
use crate::sys::socket;

/// Connections that are served at once; others wait to be accepted (I8).
const CONNECTIONS_MAX: usize = 256;
/// Questions of one connection that are under way at once; others are not read yet.
const PIPELINE_MAX: usize = 16;
/// Requests that wait to be looked at; more are dropped, as a full socket's datagrams are.
const REQUESTS_MAX: usize = 256;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// Within this many seconds a connection asks; one that does not is accepted then.
const ASKS_WITHIN: i32 = 1;
/// Connections that have not asked yet.
const BACKLOG: i32 = 1024;
/// TTL of what /etc/hosts says.
const HOSTS_TTL: u32 = 60;

/// What a resolver needs, opened while the launcher still has its rights.
pub struct Prepared {
    listener: TcpListener,
    listening: SocketAddr,
    nameserver: Ipv4Addr,
    datagrams: Option<UdpSocket>,
    mute: bool,
    conf: Conf,
    hosts: Hosts,
    hosts_text: String,
    own: Vec<Server>,
    secure: Option<Secure>,
    local: Option<Unnamed>,
}

impl Prepared {
    /// Opens the listener, and the port for datagrams where this user may have it: C libraries without TCP (musl) take answers from port 53 only.
    pub fn open(resolv_conf: &str, hosts: &str, nsswitch: &str, own: Vec<Server>) -> io::Result<Self> {
        let secure = Secure::prepare(&own)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        // One wakeup for a question and not three: it comes with its connection. Answers are small and in a hurry.
        socket::defer_accept(listener.as_fd(), ASKS_WITHIN)?;
        socket::listen(listener.as_fd(), BACKLOG)?;
        setsockopt(&listener, sockopt::TcpNoDelay, &true)?;
        let listening = listener.local_addr()?;
        let [low, high, ..] = std::process::id().to_le_bytes();
        // An address of loopback for each session: two of them can have port 53 side by side.
        let nameserver = Ipv4Addr::new(127, 64 | (high >> 2), high, low);
        let datagrams = UdpSocket::bind((nameserver, 53)).ok();
        let mute = mute_works().unwrap_or(false);
        if let Some(socket) = &datagrams {
            socket.set_nonblocking(true)?;
        }
        Ok(Self {
            listener,
            listening,
            nameserver,
            datagrams,
            mute,
            conf: Conf::parse(resolv_conf),
            hosts: Hosts::parse(hosts),
            hosts_text: hosts.to_owned(),
            own,
            secure,
            local: finds_by_dns(nsswitch).then(Unnamed::open).and_then(Result::ok),
        })
    }

    /// What the session reads as /etc/resolv.conf.
    #[must_use]
    pub fn substitute(&self) -> String {
        self.conf.substitute(self.nameserver.into())
    }

    /// The machine's own names.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Starts answering.
    pub fn start<J: Judge>(self, judge: Arc<J>) -> io::Result<Service<J::Who>> {
        let peers = Arc::new(Peers::default());
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let askers = Arc::new(Askers::default());
        let questions = match judge.admits_datagrams() {
            true => Some(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?),
            false => None,
        };
        if let Some(socket) = &questions {
            socket.set_nonblocking(true)?;
        }
        let resolver = Arc::new(Resolver {
            upstream: Upstream::new(&self.conf, &self.own, self.secure),
            conf: self.conf,
            hosts: self.hosts,
            cache: Mutex::default(),
            asked: Mutex::default(),
            judge,
        });
        let local = self.local.map(|unnamed| {
            let knower = AtHand {
                resolver: resolver.clone(),
                requests: requests.clone(),
            };
            Local::start(unnamed, knower)
        });
        let service = Service {
            peers: peers.clone(),
            local: local.transpose()?,
            listening: self.listening,
            servers: [IpAddr::V4(self.nameserver)]
                .into_iter()
                .chain(resolver.conf.servers.iter().map(SocketAddr::ip))
                .collect(),
            questions: questions.as_ref().and_then(|socket| socket.local_addr().ok()),
            askers: askers.clone(),
            takes_datagrams: self.datagrams.is_some() && self.mute,
            mute: self.mute,
            hosts_text: self.hosts_text,
            requests,
        };
        let (listener, datagrams) = (self.listener, self.datagrams);
        std::thread::Builder::new().name("names".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(async move {
                    if let Some(socket) = questions {
                        tokio::spawn(connected(resolver.clone(), askers, socket));
                    }
                    serve(resolver, peers, listener, datagrams, receiver).await;
                }),
                Err(error) => tracing::error!(%error, "names can not be resolved"),
            }
        })?;
        Ok(service)
    }
}

/// The boundary's side of the resolver.
pub struct Service<W> {
    /// Connections to [`Self::listening`] are announced here.
    pub peers: Arc<Peers<W>>,
    /// Where questions over TCP are answered.
    pub listening: SocketAddr,
    /// Where sockets are connected that ask in datagrams and may send them; each is announced to [`Self::askers`].
    pub questions: Option<SocketAddr>,
    /// Sockets that are connected to [`Self::questions`].
    pub askers: Arc<Askers<W>>,
    /// Whether questions in datagrams can be answered.
    pub takes_datagrams: bool,
    /// Whether a socket that is shut for writing can send nothing at all, as seen on this kernel.
    pub mute: bool,
    /// Where glibc is told known addresses at once.
    pub local: Option<Local<W>>,
    /// `/etc/hosts` of the machine.
    pub hosts_text: String,
    servers: Vec<IpAddr>,
    requests: mpsc::Sender<Request<W>>,
}

pub(super) enum Request<W> {
    /// A question whose answer goes to this address.
    Datagram { bytes: Vec<u8>, from: SocketAddr, who: W },
    /// Names to be looked up for a caller that can not ask.
    Names {
        names: Vec<String>,
        who: W,
        answer: std::sync::mpsc::Sender<(String, IpAddr)>,
    },
    /// A name that was asked for in nscd's way.
    Local {
        name: String,
        wanted: Wanted,
        who: W,
        stream: UnixStream,
    },
}

impl<W> Service<W> {
    /// Whether the session means its resolver by this address: the one in its resolv.conf, or one of the machine's servers.
    #[must_use]
    pub fn is_server(&self, ip: IpAddr, port: u16) -> bool {
        port == 53 && self.servers.contains(&ip)
    }

    /// Takes a question that a socket with this local address asks; the answer comes to it as a datagram. Dropped when there are too many.
    pub fn ask(&self, bytes: Vec<u8>, from: SocketAddr, who: W) {
        drop(self.requests.try_send(Request::Datagram { bytes, from, who }));
    }

    /// The addresses of names, as far as they are known within `patience`. Waits.
    pub fn addresses(&self, names: Vec<String>, who: W, patience: Duration) -> Vec<(String, IpAddr)> {
        let end = std::time::Instant::now() + patience;
        let (answer, answers) = std::sync::mpsc::channel();
        drop(self.requests.try_send(Request::Names { names, who, answer }));
        let left = || end.saturating_duration_since(std::time::Instant::now());
        std::iter::from_fn(|| answers.recv_timeout(left()).ok()).collect()
    }
}

/// Whether this kernel sends nothing for a datagram socket that was shut for writing: `sock_alloc_send_pskb` answers EPIPE (net/core/sock.c), and
/// nothing reopens such a socket. Tried with the call that names an address, on loopback.
fn mute_works() -> io::Result<bool> {
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let socket = crate::sys::socket::mute(libc::AF_INET, 0)?;
    let sent = UdpSocket::from(socket).send_to(b"x", receiver.local_addr()?);
    Ok(sent.is_err_and(|error| error.raw_os_error() == Some(libc::EPIPE)))
}

/// An answer that is none yet.
type Awaited = watch::Receiver<Option<Answer>>;

pub(super) struct Resolver<J> {
    upstream: Upstream,
    pub(super) conf: Conf,
    pub(super) hosts: Hosts,
    pub(super) cache: Mutex<Cache>,
    /// What servers are being asked for, and where their answers will be.
    asked: Mutex<HashMap<(String, RecordType), Awaited>>,
    pub(super) judge: Arc<J>,
}

async fn serve<J: Judge>(
    resolver: Arc<Resolver<J>>,
    peers: Arc<Peers<J::Who>>,
    listener: TcpListener,
    datagrams: Option<UdpSocket>,
    mut requests: mpsc::Receiver<Request<J::Who>>,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        tracing::error!("names can not be resolved: the listener is unusable");
        return;
    };
    let socket = datagrams.and_then(|socket| tokio::net::UdpSocket::from_std(socket).ok());
    let shared = resolver.clone();
    tokio::spawn(async move {
        let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
        let socket = socket.map(Arc::new);
        while let Some(request) = requests.recv().await {
            let Ok(slot) = slots.clone().acquire_owned().await else {
                return;
            };
            let (socket, resolver) = (socket.clone(), shared.clone());
            tokio::spawn(async move {
                resolver.serve(request, socket.as_deref()).await;
                drop(slot);
            });
        }
    });
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors: others end meanwhile.
                tracing::warn!(%error, "a question could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (resolver, peers) = (resolver.clone(), peers.clone());
        let asked = match peers.take(peer) {
            Some(who) => match resolver.at_once(&stream, &who) {
                Ok(left) => Some((who, left)),
                Err(_) => continue,
            },
            None => None,
        };
        tokio::spawn(async move {
            let asked = match asked {
                Some(asked) => Some(asked),
                None => peers.claim(peer).await.map(|who| (who, Left::default())),
            };
            if let Some((who, left)) = asked {
                drop(connection(resolver, stream, Arc::new(who), left).await);
            }
            drop(slot);
        });
    }
}

/// Questions from connected datagram sockets.
async fn connected<J: Judge>(resolver: Arc<Resolver<J>>, askers: Arc<Askers<J::Who>>, socket: UdpSocket) {
    let Ok(socket) = tokio::net::UdpSocket::from_std(socket).map(Arc::new) else {
        tracing::error!("questions in datagrams can not be answered: the socket is unusable");
        return;
    };
    let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
    let mut bytes = vec![0u8; QUESTION_MAX];
    loop {
        let (len, from) = match socket.recv_from(&mut bytes).await {
            Ok(received) => received,
            // An asker that is gone already: its port says so.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => {
                tracing::warn!(%error, "a question could not be received");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(who) = askers.known(from) else {
            continue;
        };
        // More than that are dropped, as a full socket's datagrams are.
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            continue;
        };
        let question = match resolver.begin(bytes.get(..len).unwrap_or_default(), &who) {
            Begun::Asks(question) => question,
            Begun::Nothing => continue,
            Begun::Answered(answer) => {
                let Some(bytes) = answer.datagram() else {
                    continue;
                };
                // A buffer that is full drops them, as the network does.
                drop(socket.try_send_to(&bytes, from));
                continue;
            }
        };
        let (resolver, socket) = (resolver.clone(), socket.clone());
        tokio::spawn(async move {
            if let Some(answer) = resolver.finish(question, &who).await.datagram() {
                drop(socket.send_to(&answer, from).await);
            }
            drop(slot);
        });
    }
}

/// The first question that is whole in `bytes`, taken out of them: two bytes of length stand in front. RFC 7766.
fn whole(bytes: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let Some((len, rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes(*len));
    if len > QUESTION_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let question = rest.get(..len).map(<[u8]>::to_vec);
    if question.is_some() {
        bytes.drain(..2 + len);
    }
    Ok(question)
}

/// What [`Resolver::at_once`] leaves to do.
#[derive(Default)]
struct Left {
    /// Of answers.
    unsent: Vec<u8>,
    /// Others must be asked.
    question: Option<Question>,
    /// Of further questions.
    unread: Vec<u8>,
}

/// Answers the questions of one connection until it is closed.
async fn connection<J: Judge>(
    resolver: Arc<Resolver<J>>,
    stream: tokio::net::TcpStream,
    who: Arc<J::Who>,
    left: Left,
) -> io::Result<()> {
    let Left {
        unsent,
        mut question,
        unread: mut bytes,
    } = left;
    let stream = Arc::new((stream, tokio::sync::Mutex::new(())));
    let pipeline = Arc::new(Semaphore::new(PIPELINE_MAX));
    write(&stream, &unsent).await?;
    loop {
        if let Some(question) = question.take() {
            let slot = pipeline.clone().acquire_owned().await.map_err(io::Error::other)?;
            let (resolver, stream, who) = (resolver.clone(), stream.clone(), who.clone());
            tokio::spawn(async move {
                let message = resolver.finish(question, &who).await.message();
                drop(write(&stream, &message).await);
                drop(slot);
            });
        }
        match whole(&mut bytes)? {
            Some(next) => match resolver.begin(&next, &who) {
                Begun::Answered(answer) => write(&stream, &answer.message()).await?,
                Begun::Asks(asks) => question = Some(asks),
                Begun::Nothing => {}
            },
            None if tokio::time::timeout(IDLE, read(&stream.0, &mut bytes)).await?? => {}
            None => return Ok(()),
        }
    }
}

/// Reads what there is; false at the end.
async fn read(stream: &tokio::net::TcpStream, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut room = [0; 2 + QUESTION_MAX];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut room) {
            Ok(len) => {
                bytes.extend_from_slice(room.get(..len).unwrap_or_default());
                return Ok(len > 0);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes a whole message, one after the other; an asker who does not read has [`IDLE`].
async fn write(stream: &(tokio::net::TcpStream, tokio::sync::Mutex<()>), mut bytes: &[u8]) -> io::Result<()> {
    let all = async {
        let _turn = stream.1.lock().await;
        while !bytes.is_empty() {
            stream.0.writable().await?;
            match stream.0.try_write(bytes) {
                Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    tokio::time::timeout(IDLE, all).await?
}

/// What was made of a question's bytes without asking anybody.
enum Begun {
    /// No question, and nobody to answer.
    Nothing,
    Answered(Reply),
    /// Others must be asked, which it may.
    Asks(Question),
}

/// An answer in bytes.
struct Reply {
    bytes: Option<Vec<u8>>,
    question: Option<Question>,
}

impl Reply {
    /// As a datagram: cut off where the asker does not take that many bytes.
    fn datagram(self) -> Option<Vec<u8>> {
        match (self.bytes, self.question) {
            (Some(bytes), Some(question)) if bytes.len() > usize::from(question.payload) => question.truncated(),
            (bytes, _) => bytes,
        }
    }

    /// As a message of a stream; nothing where it has no bytes, or too many.
    fn message(self) -> Vec<u8> {
        let bytes = self.bytes.unwrap_or_default();
        match u16::try_from(bytes.len()) {
            Ok(len) if len > 0 => [&len.to_be_bytes()[..], &bytes].concat(),
            _ => Vec::new(),
        }
    }
}

impl<J: Judge> Resolver<J> {
    /// Answers what has come already and needs nobody else, before anything is made for the connection: most of them ask for one name, which is
    /// known.
    fn at_once(&self, stream: &tokio::net::TcpStream, who: &J::Who) -> io::Result<Left> {
        let mut left = Left::default();
        let mut room = [0; 2 + QUESTION_MAX];
        // Past the runtime, which learns only with its next look that there is something to read.
        match recv(stream.as_raw_fd(), &mut room, MsgFlags::MSG_DONTWAIT) {
            Ok(len) => left.unread.extend_from_slice(room.get(..len).unwrap_or_default()),
            Err(Errno::EAGAIN) => return Ok(left),
            Err(errno) => return Err(errno.into()),
        }
        while left.unsent.is_empty()
            && left.question.is_none()
            && let Some(question) = whole(&mut left.unread)?
        {
            match self.begin(&question, who) {
                Begun::Nothing => {}
                Begun::Asks(question) => left.question = Some(question),
                Begun::Answered(answer) => {
                    let message = answer.message();
                    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                    let sent = match send(stream.as_raw_fd(), &message, flags) {
                        Err(Errno::EAGAIN) => 0,
                        sent => sent?,
                    };
                    left.unsent = message.get(sent..).unwrap_or_default().to_vec();
                }
            }
        }
        Ok(left)
    }

    /// Answers bytes, as far as nobody else must be asked.
    fn begin(&self, bytes: &[u8], who: &J::Who) -> Begun {
        let question = match Question::read(bytes) {
            Ok(question) => question,
            Err(Malformed(None)) => return Begun::Nothing,
            Err(Malformed(bytes)) => return Begun::Answered(Reply { bytes, question: None }),
        };
        match self.known(&question.name, question.kind, who) {
            Some(answer) => Begun::Answered(reply(question, &answer)),
            None => Begun::Asks(question),
        }
    }

    /// Asks others.
    async fn finish(&self, question: Question, who: &J::Who) -> Reply {
        let answer = self.asked(&question.name, question.kind, who).await;
        reply(question, &answer)
    }

    async fn serve(&self, request: Request<J::Who>, socket: Option<&tokio::net::UdpSocket>) {
        match request {
            Request::Datagram { bytes, from, who } => {
                let reply = match self.begin(&bytes, &who) {
                    Begun::Nothing => return,
                    Begun::Answered(reply) => reply,
                    Begun::Asks(question) => self.finish(question, &who).await,
                };
                if let (Some(socket), Some(bytes)) = (socket, reply.datagram()) {
                    drop(socket.send_to(&bytes, from).await);
                }
            }
            Request::Local {
                name,
                wanted,
                who,
                stream,
            } => self.tell(&name, wanted, &who, &stream).await,
            Request::Names { names, who, answer } => {
                for name in names {
                    for kind in [RecordType::A, RecordType::AAAA] {
                        for (ip, _) in self.resolve(&name, kind, &who).await.addresses() {
                            drop(answer.send((name.clone(), ip)));
                        }
                    }
                }
            }
        }
    }

    async fn resolve(&self, name: &str, kind: RecordType, who: &J::Who) -> Answer {
        match self.known(name, kind, who) {
            Some(answer) => answer,
            None => self.asked(name, kind, who).await,
        }
    }

    /// The answer, where nobody must be asked for it: this machine's own names, refused ones, and what was asked before. None: it may be asked.
    fn known(&self, name: &str, kind: RecordType, who: &J::Who) -> Option<Answer> {
        if name == "localhost" || name.ends_with(".localhost") {
            // RFC 6761, 6.3: never asked of anybody.
            let mut answer = Answer::empty(ResponseCode::NoError);
            let own = [Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()];
            answer.records = addresses(name, kind, &own, HOSTS_TTL);
            return Some(answer);
        }
        // A search domain behind a name that is allowed is the library's doing, and no attempt at anything.
        let expected = self
            .conf
            .without_search(name)
            .is_some_and(|bare| self.judge.knows(bare, who));
        if !self.judge.may_look_up(name, who, expected) {
            return Some(Answer::empty(ResponseCode::NXDomain));
        }
        self.kept(name, kind).map(|answer| self.judged(name, answer, who))
    }

    /// What others say.
    async fn asked(&self, name: &str, kind: RecordType, who: &J::Who) -> Answer {
        let answer = self.ask(name, kind).await;
        self.judged(name, answer, who)
    }

    /// What of an answer the session is told.
    pub(super) fn judged(&self, name: &str, mut answer: Answer, who: &J::Who) -> Answer {
        if answer.aliases.iter().any(|alias| self.judge.forbids(alias, who)) {
            return Answer::empty(ResponseCode::NXDomain);
        }
        let refused = answer.clean(self.judge.admits_datagrams(), |ip| self.judge.may_be_at(name, ip));
        for ip in refused {
            self.judge.misplaced(name, ip, who);
        }
        let shared: Arc<str> = name.into();
        for (ip, ttl) in answer.addresses() {
            self.judge.told(&shared, ip, ttl);
        }
        answer
    }

    /// What needs no question: /etc/hosts, and what was asked before.
    pub(super) fn kept(&self, name: &str, kind: RecordType) -> Option<Answer> {
        let hosts = self.hosts.addresses(name);
        if !hosts.is_empty() && matches!(kind, RecordType::A | RecordType::AAAA) {
            let mut answer = Answer::empty(ResponseCode::NoError);
            answer.records = addresses(name, kind, hosts, HOSTS_TTL);
            return Some(answer);
        }
        lock(&self.cache).get(name, kind)
    }

    /// Asks a server, once for all who want to know it meanwhile.
    pub(super) async fn ask(&self, name: &str, kind: RecordType) -> Answer {
        let key = (name.to_owned(), kind);
        let (told, mut answer) = watch::channel(None);
        loop {
            let asked = lock(&self.asked).get(&key).cloned();
            let Some(mut asked) = asked else { break };
            if let Ok(answer) = asked.wait_for(Option::is_some).await {
                return answer.clone().unwrap_or_else(|| Answer::empty(ResponseCode::ServFail));
            }
            // Who asked is gone.
            lock(&self.asked).retain(|_, asked| asked.has_changed().is_ok());
        }
        lock(&self.asked).insert(key.clone(), answer.clone());
        told.send_replace(Some(self.ask_upstream(name, kind).await));
        lock(&self.asked).remove(&key);
        let answer = answer.borrow_and_update().clone();
        answer.unwrap_or_else(|| Answer::empty(ResponseCode::ServFail))
    }

    async fn ask_upstream(&self, name: &str, kind: RecordType) -> Answer {
        let Some(message) = self.upstream.ask(name, kind).await else {
            return Answer::empty(ResponseCode::ServFail);
        };
        let mut answer = Answer::of(&message, name, kind);
        while let Some(open) = answer.open.take() {
            let Some(message) = self.upstream.ask(&open, kind).await else {
                return Answer::empty(ResponseCode::ServFail);
            };
            answer.join(Answer::of(&message, &open, kind));
        }
        lock(&self.cache).put(name, kind, &answer);
        answer
    }
}

fn reply(question: Question, answer: &Answer) -> Reply {
    let bytes = match answer.code {
        ResponseCode::ServFail => question.fail(ResponseCode::ServFail),
        code => question.answer(code, &answer.records, answer.negative.as_ref()),
    };
    let question = Some(question);
    Reply { bytes, question }
}
