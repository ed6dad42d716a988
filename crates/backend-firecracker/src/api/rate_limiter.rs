//! Limits of what a device may move, as token buckets.

use serde::{Deserialize, Serialize};

/// Both limits of a device; `None` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimiter {
    /// In bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<TokenBucket>,
    /// In operations (disk) or packets (network).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ops: Option<TokenBucket>,
}

/// `size` tokens that come back within `refill_time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenBucket {
    /// The most tokens it holds.
    pub size: u64,
    /// Milliseconds from empty to full.
    pub refill_time: u64,
    /// Tokens to begin with, once, before the others are used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_time_burst: Option<u64>,
}

impl TokenBucket {
    /// `each_second` tokens a second, saved up for two seconds at most: Firecracker fills a bucket only when it is short of
    /// tokens, and then with those of the last second, however much was left in it.
    pub fn per_second(each_second: u64) -> Self {
        Self { size: each_second, refill_time: 1000, one_time_burst: None }
    }

    /// Tokens per second, for whoever counts so; at least 1.
    pub fn each_second(self) -> u64 {
        (u128::from(self.size) * 1000 / u128::from(self.refill_time.max(1)))
            .clamp(1, u64::MAX.into())
            .try_into()
            .unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_counts_by_the_second() {
        assert_eq!(TokenBucket::per_second(500).each_second(), 500);
        assert_eq!(TokenBucket { size: 10, refill_time: 100, one_time_burst: None }.each_second(), 100);
        assert_eq!(
            TokenBucket { size: u64::MAX, refill_time: 0, one_time_burst: None }.each_second(),
            u64::MAX
        );
        assert_eq!(TokenBucket { size: 0, refill_time: 5, one_time_burst: None }.each_second(), 1);
    }
}
