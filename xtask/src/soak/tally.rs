//! What came of each verb.

use std::collections::BTreeMap;

/// How many different troubles are kept in words.
const SHOWN: usize = 8;

/// How one use of a verb ended that did not end well.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection broke or nobody could be reached: right while the server is dead, wrong else.
    Cut(String),
    /// 429 or 503: the server said to come again.
    Refused,
    /// Not what the contract says.
    Wrong(String),
}

impl From<agentkernel_sdk::Error> for Trouble {
    fn from(error: agentkernel_sdk::Error) -> Self {
        use agentkernel_sdk::Error;
        match error {
            Error::Connect { .. } | Error::Network { .. } | Error::Stream { .. } => Self::Cut(told(&error)),
            Error::Unavailable { .. } => Self::Refused,
            other => Self::Wrong(told(&other)),
        }
    }
}

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// The counts of one verb.
#[derive(Debug, Clone, Default)]
pub(super) struct Count {
    pub(super) done: u64,
    /// Cut by a kill.
    pub(super) cut: u64,
    pub(super) refused: u64,
    pub(super) wrong: u64,
}

/// The counts of all verbs.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) verbs: BTreeMap<&'static str, Count>,
    /// The first wrong ones, in words.
    pub(super) told: Vec<String>,
    pub(super) kills: u32,
}

impl Tally {
    /// Counts one use. `killed`: whether the server died while it went on.
    pub(super) fn add(&mut self, verb: &'static str, ended: Result<(), Trouble>, killed: bool) {
        let count = self.verbs.entry(verb).or_default();
        let wrong = match ended {
            Ok(()) => {
                count.done += 1;
                return;
            }
            Err(Trouble::Refused) => {
                count.refused += 1;
                return;
            }
            Err(Trouble::Cut(_)) if killed => {
                count.cut += 1;
                return;
            }
            Err(Trouble::Cut(why) | Trouble::Wrong(why)) => why,
        };
        count.wrong += 1;
        if self.told.len() < SHOWN {
            self.told.push(format!("{verb}: {wrong}"));
        }
    }

    /// The sum.
    pub(super) fn both(mut first: Self, second: Self) -> Self {
        for (verb, count) in second.verbs {
            let sum = first.verbs.entry(verb).or_default();
            sum.done += count.done;
            sum.cut += count.cut;
            sum.refused += count.refused;
            sum.wrong += count.wrong;
        }
        first.told.extend(second.told);
        first.kills += second.kills;
        first
    }

    /// How many were wrong.
    pub(super) fn wrong(&self) -> u64 {
        self.verbs.values().map(|count| count.wrong).sum()
    }

    /// How many were done.
    pub(super) fn done(&self) -> u64 {
        self.verbs.values().map(|count| count.done).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_right_only_when_the_server_was_killed() {
        let mut tally = Tally::default();
        tally.add("run", Err(Trouble::Cut("reset".to_owned())), true);
        tally.add("run", Err(Trouble::Refused), false);
        tally.add("run", Ok(()), false);
        assert_eq!((tally.wrong(), tally.done()), (0, 1));
        tally.add("run", Err(Trouble::Cut("reset".to_owned())), false);
        tally.add("run", Err(Trouble::Wrong("2 bytes".to_owned())), true);
        let both = Tally::both(tally, Tally::default());
        assert_eq!((both.wrong(), both.verbs["run"].cut), (2, 1));
        assert_eq!(both.told, ["run: reset", "run: 2 bytes"]);
    }
}
