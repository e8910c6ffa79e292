//! What is told in nscd's way: addresses of names about which nothing besides DNS has a say.

use std::net::{IpAddr, Shutdown};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tokio::sync::mpsc;

use super::answers::Answer;
use super::local::{self, Knower, Told};
use super::nscd::{Entry, Known, Wanted};
use super::service::{Request, Resolver};
use super::{Judge, lock};

/// Names of one database.
const DATABASE_MAX: usize = 256;
/// How many seconds a name holds at least to be in it: it is asked for again when the first of them ends.
const DATABASE_SECONDS: u32 = 2;
/// For how many seconds clients keep it at most, and with it what they know of the machine's own addresses.
const DATABASE_LASTS: u32 = 10;

/// How long a connection waits for servers.
const PATIENCE: Duration = Duration::from_secs(2);

/// The resolver, for [`local::Local`].
pub(super) struct AtHand<J: Judge> {
    pub(super) resolver: Arc<Resolver<J>>,
    pub(super) requests: mpsc::Sender<Request<J::Who>>,
}

/// What is kept of a name.
enum Kept {
    /// Nothing that can be told in this way.
    Never,
    /// Some server has to be asked.
    InPart,
    /// All, for so many seconds.
    All(Known, u32),
}

impl Wanted {
    const fn kinds(self) -> &'static [RecordType] {
        match self {
            Self::V4 => &[RecordType::A],
            Self::V6 => &[RecordType::AAAA],
            Self::All => &[RecordType::A, RecordType::AAAA],
        }
    }
}

impl<J: Judge> Resolver<J> {
    /// Whether nothing else has a say about a name: no file of the machine, no search domain, no rule against it.
    fn is_plain(&self, name: &str, who: &J::Who) -> bool {
        let elsewhere =
            name.ends_with(".localhost") || name.ends_with(".local") || !self.hosts.addresses(name).is_empty();
        !elsewhere && self.conf.is_asked_first(name) && self.judge.knows(name, who)
    }

    /// What is kept of a plain name.
    fn kept_of(&self, name: &str, wanted: Wanted, who: &J::Who) -> Kept {
        let kinds = wanted.kinds();
        let kept: Vec<Answer> = kinds.iter().filter_map(|kind| self.kept(name, *kind)).collect();
        if kept.len() < kinds.len() {
            return Kept::InPart;
        }
        let seconds = kept.iter().map(Answer::ttl).min().unwrap_or_default();
        self.known_by(name, kept, who)
            .map_or(Kept::Never, |known| Kept::All(known, seconds))
    }

    /// What answers say of a name, and the session is told. None where there is no address, and where an answer would be refused in part or as a
    /// whole: that is done, and recorded, where DNS is asked.
    fn known_by(&self, name: &str, answers: Vec<Answer>, who: &J::Who) -> Option<Known> {
        let misplaced = |(ip, _)| !self.judge.may_be_at(name, ip);
        let mut aliases = answers.iter().flat_map(|answer| &answer.aliases);
        if answers.iter().flat_map(Answer::addresses).any(misplaced)
            || aliases.any(|alias| self.judge.blocks(alias, who))
        {
            return None;
        }
        self.told_by(name, answers, who)
    }

    /// The same, refusing and recording what is to be refused.
    fn told_by(&self, name: &str, answers: Vec<Answer>, who: &J::Who) -> Option<Known> {
        // Of the answer that went the way of the aliases.
        let chain = answers
            .iter()
            .map(|answer| &answer.aliases)
            .max_by_key(|aliases| aliases.len());
        let mut aliases = vec![name.to_owned()];
        aliases.extend(chain.into_iter().flatten().cloned());
        let last = aliases.pop()?;
        let told = answers.into_iter().map(|answer| self.judged(name, answer, who));
        let told: Vec<Answer> = told.collect();
        let ips: Vec<IpAddr> = told.iter().flat_map(Answer::addresses).map(|(ip, _)| ip).collect();
        (!ips.is_empty()).then_some(Known { aliases, last, ips })
    }

    /// Asks for what is not kept, and answers on a connection; ends it where DNS is to be asked, and in time: glibc waits for 5 s, and asks DNS
    /// then, where what is asked meanwhile is waited for.
    pub(super) async fn tell(&self, name: &str, wanted: Wanted, who: &J::Who, stream: &UnixStream) {
        let answer = async |kind: &RecordType| match self.kept(name, *kind) {
            Some(answer) => answer,
            None => self.ask(name, *kind).await,
        };
        let mut answers = pin!(async {
            match wanted.kinds() {
                [one, other] => {
                    let (one, other) = tokio::join!(answer(one), answer(other));
                    vec![one, other]
                }
                kinds => vec![answer(kinds.first().unwrap_or(&RecordType::A)).await],
            }
        });
        let Ok(answers) = tokio::time::timeout(PATIENCE, &mut answers).await else {
            // Gone is as good as ended.
            drop(stream.shutdown(Shutdown::Both));
            answers.await;
            return;
        };
        let found = answers.iter().any(|answer| answer.addresses().next().is_some());
        // That there is no answer now can not be said here: getaddrinfo takes it for an unknown name.
        if answers.iter().any(|answer| answer.code == ResponseCode::ServFail) {
            return;
        }
        if let Some(known) = self.told_by(name, answers, who) {
            local::answer(stream, wanted, &known);
        } else if found {
            local::no_address(stream, wanted);
        }
    }
}

impl<J: Judge> Knower for AtHand<J> {
    type Who = J::Who;

    fn known(&self, name: &str, wanted: Wanted, who: &J::Who) -> Told {
        if !self.resolver.is_plain(name, who) {
            return Told::Nothing;
        }
        match self.resolver.kept_of(name, wanted, who) {
            Kept::All(known, _) => Told::Known(known),
            Kept::InPart => Told::Later,
            Kept::Never => Told::Nothing,
        }
    }

    fn ask(&self, name: String, wanted: Wanted, who: J::Who, stream: UnixStream) {
        // Where there are too many, glibc asks DNS.
        drop(self.requests.try_send(Request::Local {
            name,
            wanted,
            who,
            stream,
        }));
    }

    fn all(&self, who: &J::Who) -> (Vec<Entry>, Duration) {
        let cache = &self.resolver.cache;
        let names = lock(cache).names();
        let (mut all, mut holds) = (Vec::new(), DATABASE_LASTS);
        let plain = names.into_iter().filter(|name| self.resolver.is_plain(name, who));
        for name in plain.take(DATABASE_MAX) {
            for wanted in [Wanted::All, Wanted::V4, Wanted::V6] {
                match self.resolver.kept_of(&name, wanted, who) {
                    Kept::All(known, seconds) if seconds >= DATABASE_SECONDS => {
                        all.push((name.clone(), wanted, known));
                        holds = holds.min(seconds);
                    }
                    _ => {}
                }
            }
        }
        let holds = if all.is_empty() { 0 } else { holds };
        (all, Duration::from_secs(holds.into()))
    }
}
