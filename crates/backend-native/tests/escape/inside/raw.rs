//! An attacker's system calls: no library in between that could be more careful than the kernel.
#![expect(unsafe_code, reason = "hostile code asks the kernel directly, and so must its test")]

/// A system call; the result or the errno. Pointers among the arguments must lead to live memory that is large enough.
pub(crate) fn call(number: libc::c_long, [a, b, c, d, e, f]: [usize; 6]) -> Result<usize, i32> {
    // SAFETY: every caller in this test passes addresses of its own live buffers, or addresses that the kernel refuses.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    match usize::try_from(result) {
        Ok(value) => Ok(value),
        Err(_) => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    }
}

/// A system call whose answer doesn't matter: what it did is looked at elsewhere.
pub(crate) fn whatever(number: libc::c_long, arguments: [usize; 6]) {
    // Both answers are fine.
    call(number, arguments).unwrap_or_default();
}

/// fork(2), in this process of one thread: `None` in the child.
pub(crate) fn fork() -> Result<Option<usize>, i32> {
    let pid = call(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0, 0, 0, 0])?;
    Ok((pid != 0).then_some(pid))
}

/// Runs `body` in a child; its wait status.
pub(crate) fn in_child(body: impl FnOnce() -> u8) -> Result<i32, i32> {
    match fork()? {
        None => exit(body()),
        Some(pid) => wait(pid),
    }
}

/// Waits for a child; its wait status.
pub(crate) fn wait(pid: usize) -> Result<i32, i32> {
    let mut status = 0i32;
    call(libc::SYS_wait4, [pid, &raw mut status as usize, 0, 0, 0, 0])?;
    Ok(status)
}

/// Ends this process without any clean-up.
pub(crate) fn exit(code: u8) -> ! {
    loop {
        whatever(libc::SYS_exit_group, [usize::from(code), 0, 0, 0, 0, 0]);
    }
}

/// getpid by the 32-bit interface, which a filter for 64-bit numbers alone would let through.
#[cfg(target_arch = "x86_64")]
pub(crate) fn getpid_32() -> i32 {
    let result: i32;
    // SAFETY: int 0x80 with getpid's number touches no memory; rax takes its result.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") 20 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    result
}
