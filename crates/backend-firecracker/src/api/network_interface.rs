//! `/network-interfaces/{iface_id}`.

use serde::Serialize;

use super::RateLimiter;

/// A network interface behind a TAP device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkInterface {
    /// Letters, digits and underscores.
    pub iface_id: String,
    /// The TAP device's name.
    pub host_dev_name: String,
    /// As `06:00:ac:10:00:02`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_mac: Option<String>,
    /// Of what the guest receives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_rate_limiter: Option<RateLimiter>,
    /// Of what it sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_rate_limiter: Option<RateLimiter>,
}

/// What can change in a running machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkInterfaceUpdate {
    /// Which.
    pub iface_id: String,
    /// Of what the guest receives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_rate_limiter: Option<RateLimiter>,
    /// Of what it sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_rate_limiter: Option<RateLimiter>,
}
