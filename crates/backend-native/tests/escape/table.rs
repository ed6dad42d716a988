//! All attempts.

use agentkernel_model::Feature;

use crate::attempt::{Attempt, DEFAULT, EACH, MOST};
use crate::inside::{
    agent, descriptors, devices, files, host_secrets, image_entries, kernel_calls, mounts, namespaces,
    privileges, processes, resources, settings, sockets,
};
use crate::outside;

/// Every attempt, by what it goes for.
pub(crate) fn attempts() -> &'static [Attempt] {
    const ATTEMPTS: &[Attempt] = &[
        // Mounts and roots.
        Attempt::inside("mount_new_filesystems", EACH, mounts::new_filesystems),
        Attempt::inside("mount_bind", EACH, mounts::bind),
        Attempt::inside("mount_remount", EACH, mounts::remount),
        Attempt::inside("mount_unmount", EACH, mounts::unmount),
        Attempt::inside("mount_new_calls", EACH, mounts::new_mount_calls),
        Attempt::inside("mount_points", EACH, mounts::mount_points),
        Attempt::inside("root_chroot_and_pivot", EACH, mounts::other_root),
        Attempt::inside("root_file_handles", EACH, mounts::file_handles),
        // Namespaces and cgroups.
        Attempt::inside("namespace_unshare", EACH, namespaces::unshare),
        Attempt::inside("namespace_clone", EACH, namespaces::clone),
        Attempt::inside("namespace_clone3", EACH, namespaces::clone3),
        Attempt::inside("namespace_join", EACH, namespaces::join),
        Attempt::inside("namespace_id_maps", EACH, namespaces::id_maps),
        Attempt::inside("cgroup_escape", EACH, namespaces::cgroups),
        // Devices.
        Attempt::inside("device_present", EACH, devices::present).control(),
        Attempt::inside("device_open", EACH, devices::open),
        Attempt::inside("device_make", EACH, devices::make),
        Attempt::inside("device_in_a_mount", MOST, devices::planted).bait(outside::plant_device),
        // /proc and /sys.
        Attempt::inside("proc_kernel_settings", EACH, settings::kernel_settings),
        Attempt::inside("proc_sysrq", EACH, settings::sysrq),
        Attempt::inside("proc_other_controls", EACH, settings::other_controls),
        Attempt::inside("proc_kernel_memory", EACH, settings::kernel_memory),
        Attempt::inside("proc_covered", EACH, settings::covered),
        Attempt::inside("proc_oom_shield", EACH, settings::oom_shield),
        Attempt::inside("sys_writes", EACH, settings::sys),
        Attempt::inside("core_dump_handler", EACH, settings::core_dumps),
        // Calls that no box needs.
        Attempt::inside("call_keyrings", EACH, kernel_calls::keyrings),
        Attempt::inside("call_bpf", EACH, kernel_calls::bpf),
        Attempt::inside("call_perf_events", EACH, kernel_calls::perf_events),
        Attempt::inside("call_io_uring", EACH, kernel_calls::io_uring),
        Attempt::inside("call_userfaultfd", EACH, kernel_calls::userfaultfd),
        Attempt::inside("call_modules", EACH, kernel_calls::modules),
        Attempt::inside("call_kexec", EACH, kernel_calls::other_kernels),
        Attempt::inside("call_reboot", EACH, kernel_calls::reboot),
        Attempt::inside("call_swap", EACH, kernel_calls::swap),
        Attempt::inside("call_host_name", EACH, kernel_calls::host_name),
        Attempt::inside("call_clock", EACH, kernel_calls::clock),
        Attempt::inside("call_quotas", EACH, kernel_calls::quotas),
        Attempt::inside("call_kernel_log", EACH, kernel_calls::kernel_log),
        Attempt::inside("call_personality", EACH, kernel_calls::personality),
        Attempt::inside("call_fanotify", EACH, kernel_calls::watching),
        Attempt::inside("call_memory_placement", EACH, kernel_calls::memory_placement),
        Attempt::inside("call_ports_and_segments", EACH, kernel_calls::ports_and_segments),
        Attempt::inside("call_unknown", EACH, kernel_calls::unknown_calls),
        Attempt::inside("call_other_interfaces", EACH, kernel_calls::other_interfaces),
        Attempt::inside("call_scheduling", EACH, kernel_calls::scheduling),
        // Sockets and the host's services.
        Attempt::inside("socket_raw", EACH, sockets::raw_sockets),
        Attempt::inside("socket_families", EACH, sockets::families),
        Attempt::inside("socket_netlink", EACH, sockets::netlink),
        Attempt::inside("network_host_loopback", EACH, sockets::host_loopback).control(),
        Attempt::inside("network_host_services", EACH, sockets::host_services).control(),
        Attempt::inside("network_host_datagrams", EACH, sockets::host_datagrams).control(),
        Attempt::inside("network_metadata", EACH, sockets::metadata),
        Attempt::inside("network_abstract_sockets", EACH, sockets::abstract_sockets).control(),
        // The host's processes, and the agent.
        Attempt::inside("process_host_hidden", EACH, processes::of_the_host_are_hidden).control(),
        Attempt::inside("process_host_out_of_reach", EACH, processes::of_the_host_are_out_of_reach).control(),
        Attempt::outside("process_kill_all", EACH, outside::after_killing_all),
        Attempt::inside("agent_kill", EACH, processes::kill_the_agent).then(outside::still_alive),
        Attempt::inside("agent_trace", EACH, processes::trace_the_agent),
        Attempt::inside("agent_memory", EACH, agent::memory),
        Attempt::inside("agent_links", EACH, agent::links),
        Attempt::inside("agent_program", EACH, agent::program).then(outside::still_alive),
        Attempt::outside("agent_program_by_exec", EACH, outside::exec_the_agent),
        Attempt::outside("agent_written_through_links", DEFAULT, outside::write_through_links),
        // Descriptors and terminals.
        Attempt::inside("descriptor_inherited", EACH, descriptors::inherited),
        Attempt::inside("terminal_injection", EACH, descriptors::terminal)
            .on_terminal()
            .needs(&[Feature::Terminal]),
        Attempt::inside("terminal_injection_high_bits", EACH, descriptors::terminal_high_bits)
            .on_terminal()
            .needs(&[Feature::Terminal]),
        Attempt::inside("terminal_of_the_host", EACH, descriptors::no_terminal),
        // Rights.
        Attempt::inside("rights_of_the_profile", EACH, privileges::are_those_of_the_profile),
        Attempt::inside("rights_raised", EACH, privileges::cannot_be_raised),
        Attempt::inside("rights_file_capabilities", EACH, privileges::file_capabilities),
        Attempt::inside("rights_trusted_attributes", EACH, privileges::trusted_attributes),
        Attempt::inside("rights_unmapped_users", EACH, privileges::unmapped_users),
        Attempt::inside("rights_limits", EACH, privileges::limits),
        Attempt::outside("rights_setuid_in_a_mount", DEFAULT, outside::setuid_program)
            .needs(&[Feature::OtherUsers])
            .bait(outside::plant_setuid),
        // Files and links.
        Attempt::inside("link_planted", EACH, files::planted_links),
        Attempt::inside("link_own", EACH, files::own_links),
        Attempt::inside("link_hard", EACH, files::hard_links),
        Attempt::inside("path_dot_dot", EACH, files::dot_dot).control(),
        Attempt::inside("read_only_mount", EACH, files::read_only_mount),
        Attempt::inside("read_only_program", EACH, files::read_only_program),
        Attempt::inside("read_only_reopened", EACH, files::reopened_read_only),
        Attempt::inside("file_system_controls", EACH, files::file_system_controls),
        Attempt::inside("system_files", EACH, files::system_files).then(outside::system_files_unchanged),
        Attempt::outside("copy_out_of_the_box", EACH, outside::copy_out),
        // What the host has.
        Attempt::inside("host_files", EACH, host_secrets::files).control(),
        Attempt::inside("host_homes", EACH, host_secrets::homes),
        Attempt::inside("host_tree", EACH, host_secrets::tree).control(),
        Attempt::inside("host_environment", EACH, host_secrets::environment).control(),
        Attempt::inside("host_shared_memory", EACH, host_secrets::shared_memory).control(),
        Attempt::inside("host_system_v_memory", EACH, host_secrets::system_v_memory)
            .control()
            .bait(outside::make_shared_memory),
        // What an image brings.
        Attempt::inside("image_links", DEFAULT, image_entries::links).of_an_image(),
        Attempt::inside("image_places", DEFAULT, image_entries::places).of_an_image(),
        Attempt::inside("image_writes", DEFAULT, image_entries::writes).of_an_image(),
        Attempt::outside("image_setuid", DEFAULT, outside::setuid_program_of_an_image)
            .of_an_image()
            .needs(&[Feature::OtherUsers]),
        // More than was given.
        Attempt::inside("bomb_fork", EACH, resources::fork_bomb)
            .needs(&[Feature::PidsLimit])
            .then(outside::still_alive),
        Attempt::outside("bomb_memory", EACH, outside::memory_bomb).needs(&[Feature::MemoryLimit]),
        Attempt::inside("bomb_disk", EACH, resources::disk_fill)
            .needs(&[Feature::DiskLimit])
            .then(outside::still_alive),
        Attempt::inside("bomb_inodes", EACH, resources::inode_fill)
            .needs(&[Feature::DiskLimit])
            .then(outside::still_alive),
        Attempt::inside("bomb_descriptors", EACH, resources::descriptor_exhaustion)
            .needs(&[Feature::OpenFilesLimit])
            .then(outside::still_alive),
        Attempt::outside("bomb_terminals", DEFAULT, outside::hold_terminals),
        Attempt::outside("bomb_watches", DEFAULT, outside::hold_watches),
        Attempt::outside("bomb_log", DEFAULT, outside::flood_log).needs(&[Feature::DetachedCommands]),
    ];
    ATTEMPTS
}
