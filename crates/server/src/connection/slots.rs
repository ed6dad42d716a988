//! How many connections there are, and whose.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::guard::Door;

/// Whom a connection counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// A machine. Of IPv6 the network: one machine has as many addresses of it as it likes.
    Address(IpAddr),
    /// A user of this one.
    User(u32),
}

impl From<&Door> for Peer {
    fn from(door: &Door) -> Self {
        match door {
            Door::Unix { uid } => Self::User(*uid),
            Door::Tcp { peer, .. } => Self::Address(match peer.ip().to_canonical() {
                IpAddr::V6(address) if !address.is_loopback() => {
                    let network = u128::from(address) & !u128::from(u64::MAX);
                    IpAddr::V6(network.into())
                }
                address => address,
            }),
        }
    }
}

/// All connections of a server.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    most: usize,
    most_per_peer: usize,
    by_peer: Mutex<HashMap<Peer, usize>>,
    count: watch::Sender<usize>,
}

impl Slots {
    pub(crate) fn new(most: usize, most_per_peer: usize) -> Self {
        let by_peer = Mutex::new(HashMap::new());
        Self { inner: Arc::new(Inner { most, most_per_peer, by_peer, count: watch::Sender::new(0) }) }
    }

    /// A place for one more connection, as long as it is held; `None` where there is no room.
    pub(crate) fn take(&self, peer: Peer) -> Option<Slot> {
        let mut by_peer = self.inner.by_peer();
        if *self.inner.count.borrow() >= self.inner.most {
            return None;
        }
        let count = by_peer.entry(peer).or_insert(0);
        if *count >= self.inner.most_per_peer {
            return None;
        }
        *count += 1;
        self.inner.count.send_modify(|count| *count += 1);
        Some(Slot { peer, inner: Arc::clone(&self.inner) })
    }

    /// Waits until there is no connection any more.
    pub(crate) async fn empty(&self) {
        // The sender is ours, so that it can't be gone.
        self.inner.count.subscribe().wait_for(|count| *count == 0).await.ok();
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        *self.inner.count.borrow()
    }
}

impl Inner {
    fn by_peer(&self) -> MutexGuard<'_, HashMap<Peer, usize>> {
        self.by_peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place.
#[derive(Debug)]
pub(crate) struct Slot {
    peer: Peer,
    inner: Arc<Inner>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut by_peer = self.inner.by_peer();
        if let Some(count) = by_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                by_peer.remove(&self.peer);
            }
        }
        self.inner.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Peer {
        let local = "127.0.0.1:1".parse().unwrap();
        Peer::from(&Door::Tcp { peer: address.parse().unwrap(), local, tls: false, uid: None })
    }

    #[tokio::test]
    async fn places_are_limited_in_all_and_for_each_and_given_back() {
        let slots = Slots::new(3, 2);
        let (a, b) = (from("10.0.0.1:1"), from("[2001:db8::1]:1"));
        let first = slots.take(a).unwrap();
        let _second = slots.take(a).unwrap();
        assert!(slots.take(a).is_none(), "one peer has its share");
        let third = slots.take(b).unwrap();
        assert!(slots.take(Peer::User(0)).is_none(), "all are taken");
        drop((first, third));
        assert_eq!(slots.count(), 1);
        let again = slots.take(a).unwrap();
        drop((again, _second));
        slots.empty().await;
        assert!(slots.inner.by_peer().is_empty(), "nobody is remembered");
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        assert_eq!(from("[2001:db8::1]:1"), from("[2001:db8::ffff:1]:2"));
        assert_ne!(from("[2001:db8::1]:1"), from("[2001:db8:0:1::1]:1"));
        assert_eq!(from("[::ffff:10.0.0.1]:1"), from("10.0.0.1:9"));
    }
}
