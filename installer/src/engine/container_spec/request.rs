//! A container's specification in the engine's own words (Docker Engine API, "ContainerCreate").

use super::{ContainerSpec, HealthSpec, MountFrom};
use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, HealthConfig, HostConfig, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountImageOptions, MountTmpfsOptions, MountType,
    MountVolumeOptions, NetworkingConfig, PortBinding, ResourcesBlkioWeightDevice, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum, ThrottleDevice,
};
use manifest_schema::compose::model;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

impl ContainerSpec {
    /// The engine's request.
    pub(in crate::engine) fn request(&self) -> ContainerCreateBody {
        let resources = &self.resources;
        let blkio = resources.blkio.clone().unwrap_or_default();
        let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let (binds, mounts) = self.split_mounts();
        let host = HostConfig {
            binds: (!binds.is_empty()).then_some(binds),
            mounts: (!mounts.is_empty()).then_some(mounts),
            tmpfs: (!self.tmpfs.is_empty()).then(|| self.tmpfs.clone().into_iter().collect()),
            network_mode: self.network_mode.clone(),
            port_bindings: Some(
                self.ports
                    .iter()
                    .map(|(port, bindings)| {
                        let binding = |(ip, port): &(String, String)| PortBinding {
                            host_ip: Some(ip.clone()),
                            host_port: Some(port.clone()),
                        };
                        (port.clone(), Some(bindings.iter().map(binding).collect()))
                    })
                    .collect(),
            ),
            restart_policy: Some(restart_policy(&self.restart)),
            log_config: Some(HostConfigLogConfig {
                typ: self.logging.0.clone(),
                config: Some(self.logging.1.clone().into_iter().collect()),
            }),
            memory: resources.memory_bytes,
            memory_reservation: resources.memory_reservation_bytes,
            memory_swap: resources.memory_swap_bytes,
            nano_cpus: resources.nano_cpus,
            cpu_shares: resources.cpu_shares,
            cpuset_cpus: resources.cpuset.clone(),
            pids_limit: resources.pids,
            oom_score_adj: resources.oom_score_adj,
            oom_kill_disable: resources.oom_kill_disable.then_some(true),
            memory_swappiness: resources.memory_swappiness,
            cpu_period: resources.cpu_period,
            cpu_quota: resources.cpu_quota,
            cpu_realtime_period: resources.cpu_rt_period,
            cpu_realtime_runtime: resources.cpu_rt_runtime,
            cgroup_parent: resources.cgroup_parent.clone(),
            device_cgroup_rules: some(&resources.device_cgroup_rules),
            device_requests: (!resources.device_requests.is_empty())
                .then(|| resources.device_requests.iter().map(device_request).collect()),
            blkio_weight: blkio.weight,
            blkio_weight_device: (!blkio.weight_device.is_empty()).then(|| {
                let entries = blkio.weight_device.iter();
                entries
                    .map(|(path, weight)| ResourcesBlkioWeightDevice {
                        path: Some(path.clone()),
                        weight: Some(usize::from(*weight)),
                    })
                    .collect()
            }),
            blkio_device_read_bps: throttled(&blkio.read_bps),
            blkio_device_write_bps: throttled(&blkio.write_bps),
            blkio_device_read_iops: throttled(&blkio.read_iops),
            blkio_device_write_iops: throttled(&blkio.write_iops),
            ulimits: (!self.ulimits.is_empty()).then(|| {
                self.ulimits
                    .iter()
                    .map(|(name, soft, hard)| ResourcesUlimits {
                        name: Some(name.clone()),
                        soft: Some(*soft),
                        hard: Some(*hard),
                    })
                    .collect()
            }),
            sysctls: (!self.sysctls.is_empty()).then(|| self.sysctls.clone().into_iter().collect()),
            cap_add: some(&self.cap_add),
            cap_drop: some(&self.cap_drop),
            devices: (!self.devices.is_empty()).then(|| {
                self.devices
                    .iter()
                    .map(|(host, container, permissions)| DeviceMapping {
                        path_on_host: Some(host.clone()),
                        path_in_container: Some(container.clone()),
                        cgroup_permissions: Some(permissions.clone()),
                    })
                    .collect()
            }),
            extra_hosts: some(&self.extra_hosts),
            dns: some(&self.dns),
            dns_search: some(&self.dns_search),
            dns_options: some(&self.dns_options),
            init: self.init,
            group_add: some(&self.groups),
            readonly_rootfs: Some(self.read_only),
            privileged: Some(self.privileged),
            security_opt: some(&self.security_options),
            shm_size: self.shm_bytes.and_then(|bytes| i64::try_from(bytes).ok()),
            ipc_mode: self.ipc.clone(),
            pid_mode: self.pid.clone(),
            userns_mode: self.userns.clone(),
            uts_mode: self.uts.clone(),
            cgroupns_mode: self.cgroup.as_deref().and_then(|word| word.parse().ok()),
            runtime: self.runtime.clone(),
            storage_opt: (!self.storage_options.is_empty())
                .then(|| self.storage_options.clone().into_iter().collect()),
            volumes_from: (!self.volumes_from.is_empty())
                .then(|| self.volumes_from.values().cloned().collect()),
            ..Default::default()
        };
        let anonymous: Vec<String> = self
            .mounts
            .iter()
            .filter(|mount| mount.source == MountFrom::Anonymous && !mount.read_only)
            .map(|mount| mount.target.clone())
            .collect();
        ContainerCreateBody {
            image: Some(self.image.clone()),
            labels: Some(self.labels.clone().into_iter().collect()),
            env: Some(self.environment.clone()),
            cmd: self.command.clone(),
            // Engines take an absent list for the image's, and a list of one empty word for none.
            entrypoint: self
                .entrypoint
                .clone()
                .map(|words| if words.is_empty() { vec![String::new()] } else { words }),
            exposed_ports: (!self.exposed.is_empty()).then(|| self.exposed.clone()),
            volumes: (!anonymous.is_empty()).then_some(anonymous),
            healthcheck: self.health.as_ref().map(HealthSpec::request),
            user: self.user.clone(),
            working_dir: self.working_dir.clone(),
            hostname: self.hostname.clone(),
            domainname: self.domainname.clone(),
            tty: Some(self.tty),
            open_stdin: Some(self.stdin_open),
            stop_signal: self.stop_signal.clone(),
            stop_timeout: i64::try_from(self.stop_timeout.as_millis().div_ceil(1000)).ok(),
            host_config: Some(host),
            networking_config: self.networks.first().map(|first| NetworkingConfig {
                endpoints_config: Some(HashMap::from([(first.network.clone(), first.settings())])),
            }),
            ..Default::default()
        }
    }

    /// Binds that make a missing folder go in the old way (`source:target:options`), the only one
    /// that API 1.41 has for it; all others as mounts, which fail when their source is missing.
    pub(super) fn split_mounts(&self) -> (Vec<String>, Vec<Mount>) {
        let mut binds = Vec::new();
        let mut mounts = Vec::new();
        for mount in &self.mounts {
            let mut request = Mount {
                target: Some(mount.target.clone()),
                read_only: Some(mount.read_only),
                ..Default::default()
            };
            match &mount.source {
                MountFrom::Anonymous if !mount.read_only => continue,
                MountFrom::Anonymous => request.typ = Some(MountType::VOLUME),
                MountFrom::Volume { name, nocopy, subpath } => {
                    request.typ = Some(MountType::VOLUME);
                    request.source = Some(name.clone());
                    if *nocopy || subpath.is_some() {
                        request.volume_options = Some(MountVolumeOptions {
                            no_copy: nocopy.then_some(true),
                            subpath: subpath.clone(),
                            ..Default::default()
                        });
                    }
                }
                MountFrom::Image { id, subpath } => {
                    request.typ = Some(MountType::IMAGE);
                    request.source = Some(id.to_string());
                    request.image_options =
                        subpath.clone().map(|subpath| MountImageOptions { subpath: Some(subpath) });
                }
                MountFrom::Bind { path, create, propagation, recursive, selinux } => {
                    // A label can be asked for in no other way.
                    if (*create || selinux.is_some())
                        && recursive.is_none()
                        && !path.contains(':')
                        && !mount.target.contains(':')
                    {
                        let mut options = vec![if mount.read_only { "ro" } else { "rw" }];
                        options.extend(propagation.as_deref());
                        options.extend(selinux.as_deref());
                        binds.push(format!("{path}:{}:{}", mount.target, options.join(",")));
                        continue;
                    }
                    request.typ = Some(MountType::BIND);
                    request.source = Some(path.clone());
                    let propagation = propagation
                        .as_deref()
                        .and_then(|word| word.parse::<MountBindOptionsPropagationEnum>().ok());
                    if propagation.is_some() || *create || recursive.is_some() {
                        let says = |word: &str| (recursive.as_deref() == Some(word)).then_some(true);
                        request.bind_options = Some(MountBindOptions {
                            propagation,
                            create_mountpoint: create.then_some(true),
                            non_recursive: says("disabled"),
                            read_only_non_recursive: says("writable"),
                            read_only_force_recursive: says("readonly"),
                        });
                    }
                }
                MountFrom::Tmpfs { size, mode } => {
                    request.typ = Some(MountType::TMPFS);
                    if size.is_some() || mode.is_some() {
                        request.tmpfs_options = Some(MountTmpfsOptions {
                            size_bytes: size.and_then(|size| i64::try_from(size).ok()),
                            mode: mode.map(i64::from),
                            options: None,
                        });
                    }
                }
            }
            mounts.push(request);
        }
        (binds, mounts)
    }
}

fn device_request(request: &model::DeviceRequest) -> DeviceRequest {
    DeviceRequest {
        driver: request.driver.clone(),
        count: Some(request.count),
        device_ids: (!request.device_ids.is_empty()).then(|| request.device_ids.clone()),
        capabilities: (!request.capabilities.is_empty()).then(|| vec![request.capabilities.clone()]),
        options: Some(request.options.clone().into_iter().collect()),
    }
}

fn throttled(rates: &BTreeMap<String, i64>) -> Option<Vec<ThrottleDevice>> {
    (!rates.is_empty()).then(|| {
        rates
            .iter()
            .map(|(path, rate)| ThrottleDevice { path: Some(path.clone()), rate: Some(*rate) })
            .collect()
    })
}

impl HealthSpec {
    fn request(&self) -> HealthConfig {
        let nanos = |time: Option<Duration>| time.map(|t| i64::try_from(t.as_nanos()).unwrap_or(i64::MAX));
        HealthConfig {
            test: Some(self.test.clone()),
            interval: nanos(self.interval),
            timeout: nanos(self.timeout),
            retries: self.retries.map(i64::from),
            start_period: nanos(self.start_period),
            start_interval: nanos(self.start_interval),
        }
    }
}

/// `on-failure:3` as the engine takes it. What is none of the four means `no`.
pub(in crate::engine) fn restart_policy(text: &str) -> RestartPolicy {
    let (name, count) = text.split_once(':').unwrap_or((text, ""));
    let name = match name {
        "always" => RestartPolicyNameEnum::ALWAYS,
        "unless-stopped" => RestartPolicyNameEnum::UNLESS_STOPPED,
        "on-failure" => RestartPolicyNameEnum::ON_FAILURE,
        _ => RestartPolicyNameEnum::NO,
    };
    RestartPolicy { name: Some(name), maximum_retry_count: count.parse().ok() }
}
