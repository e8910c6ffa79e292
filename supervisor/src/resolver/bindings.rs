//! Which names this session was told for which address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a name holds beyond its TTL: programs keep addresses for longer than they are told to.
const GRACE: Duration = Duration::from_secs(3600);
/// The longest TTL that is believed.
const TTL_MAX: Duration = Duration::from_secs(86_400);
/// Addresses that are remembered; those that end first make room (I8).
const ADDRESSES_MAX: usize = 8192;
/// Names that are remembered for one address.
const NAMES_MAX: usize = 32;

/// The table: filled by answers, asked at each connect.
#[derive(Debug, Default)]
pub struct Bindings(Mutex<HashMap<IpAddr, Vec<Told>>>);

#[derive(Debug)]
struct Told {
    name: Arc<str>,
    until: Instant,
}

/// Forgets what has ended, and where that is not enough the eighth that ends first: one look at the table for a thousand answers.
fn make_room(table: &mut HashMap<IpAddr, Vec<Told>>, now: Instant) {
    let last = |told: &[Told]| told.iter().map(|told| told.until).max().unwrap_or(now);
    table.retain(|_, told| last(told) > now);
    if table.len() < ADDRESSES_MAX {
        return;
    }
    let mut ends: Vec<Instant> = table.values().map(|told| last(told)).collect();
    let (_, border, _) = ends.select_nth_unstable(ADDRESSES_MAX / 8);
    let border = *border;
    // At most so many: those that end together with the border may be all of them.
    let mut room = ADDRESSES_MAX / 8;
    table.retain(|_, told| {
        let goes = room > 0 && last(told) <= border;
        room -= usize::from(goes);
        !goes
    });
}

impl Bindings {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Vec<Told>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that the session was told this address for a name.
    pub fn tell(&self, name: &Arc<str>, ip: IpAddr, ttl: Duration) {
        self.tell_at(name, ip, ttl, Instant::now());
    }

    fn tell_at(&self, name: &Arc<str>, ip: IpAddr, ttl: Duration, now: Instant) {
        let until = now + ttl.min(TTL_MAX) + GRACE;
        let ip = ip.to_canonical();
        let mut table = self.lock();
        if table.len() >= ADDRESSES_MAX && !table.contains_key(&ip) {
            make_room(&mut table, now);
        }
        let told = table.entry(ip).or_default();
        told.retain(|told| told.until > now);
        match told.iter_mut().find(|told| told.name == *name) {
            Some(known) => known.until = known.until.max(until),
            None => {
                if told.len() >= NAMES_MAX {
                    told.remove(0);
                }
                told.push(Told {
                    name: name.clone(),
                    until,
                });
            }
        }
    }

    /// The names that were told for an address and still hold.
    #[must_use]
    pub fn names(&self, ip: IpAddr) -> Vec<Arc<str>> {
        let now = Instant::now();
        let table = self.lock();
        let told = table.get(&ip.to_canonical()).map(Vec::as_slice).unwrap_or_default();
        told.iter()
            .filter(|told| told.until > now)
            .map(|told| told.name.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_hold_for_their_time_and_memory_is_bounded() {
        let (table, now) = (Bindings::default(), Instant::now());
        let (a, b): (Arc<str>, Arc<str>) = ("a.example".into(), "b.example".into());
        let ip = "192.0.2.1".parse().unwrap();
        table.tell(&a, ip, Duration::from_secs(5));
        table.tell(&b, "::ffff:192.0.2.1".parse().unwrap(), Duration::from_secs(5));
        table.tell(&a, ip, Duration::from_secs(5));
        assert_eq!(table.names(ip), [a.clone(), b.clone()]);
        // Told long ago.
        let ip = "192.0.2.2".parse().unwrap();
        let past = now.checked_sub(Duration::from_secs(4000)).unwrap_or(now);
        table.tell_at(&a, ip, Duration::from_secs(5), past);
        assert_eq!(table.names(ip).len(), usize::from(past == now));
        for n in 0..40u32 {
            table.tell(&format!("n{n}.example").into(), ip, Duration::MAX);
        }
        assert_eq!(table.names(ip).len(), NAMES_MAX);
        for n in 0..9000u32 {
            table.tell(
                &a,
                IpAddr::from((0x0a00_0000 + n).to_be_bytes()),
                Duration::from_secs(n.into()),
            );
        }
        assert!((ADDRESSES_MAX * 7 / 8..=ADDRESSES_MAX).contains(&table.lock().len()));
        // What was told last is still there.
        assert_eq!(table.names(IpAddr::from((0x0a00_0000u32 + 8999).to_be_bytes())), [a]);
    }
}
