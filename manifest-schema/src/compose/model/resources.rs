//! Limits of a service on its host, and its devices.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Limits and reservations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory limit in bytes.
    pub memory_bytes: Option<i64>,
    /// Memory reservation in bytes.
    pub memory_reservation_bytes: Option<i64>,
    /// Memory plus swap in bytes.
    pub memory_swap_bytes: Option<i64>,
    /// CPU limit in billionths of a CPU.
    pub nano_cpus: Option<i64>,
    /// `cpu_shares`.
    pub cpu_shares: Option<i64>,
    /// `cpuset`.
    pub cpuset: Option<String>,
    /// Process limit.
    pub pids: Option<i64>,
    /// `oom_score_adj`.
    pub oom_score_adj: Option<i64>,
    /// `oom_kill_disable`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom_kill_disable: bool,
    /// `mem_swappiness`, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_swappiness: Option<i64>,
    /// `cpu_period` in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<i64>,
    /// `cpu_quota` in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<i64>,
    /// `cpu_rt_period` in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_rt_period: Option<i64>,
    /// `cpu_rt_runtime` in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_rt_runtime: Option<i64>,
    /// `cgroup_parent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_parent: Option<String>,
    /// `device_cgroup_rules`, `c 188:* rwm`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_cgroup_rules: Vec<String>,
    /// `gpus` and `deploy.resources.reservations.devices`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_requests: Vec<DeviceRequest>,
    /// `blkio_config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blkio: Option<Blkio>,
}

/// A request for devices that a driver gives, such as GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// `driver`.
    pub driver: Option<String>,
    /// How many; -1: all, 0: those of `device_ids`.
    pub count: i64,
    /// `device_ids`.
    pub device_ids: Vec<String>,
    /// `capabilities`, of which a device has to have all.
    pub capabilities: Vec<String>,
    /// `options`.
    pub options: BTreeMap<String, String>,
}

/// Limits of block devices, by path; rates in bytes or operations a second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blkio {
    /// `weight`, 10 to 1000.
    pub weight: Option<u16>,
    /// `weight_device`.
    pub weight_device: BTreeMap<String, u16>,
    /// `device_read_bps`.
    pub read_bps: BTreeMap<String, i64>,
    /// `device_write_bps`.
    pub write_bps: BTreeMap<String, i64>,
    /// `device_read_iops`.
    pub read_iops: BTreeMap<String, i64>,
    /// `device_write_iops`.
    pub write_iops: BTreeMap<String, i64>,
}
