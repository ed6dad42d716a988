/*
 * The first process of the bed's own machine: tells over vsock what the kernel can do, then powers off. It needs
 * nothing but the kernel, so that it is the kernel that a failure is about.
 *
 * Knocks at port 1025 of the host, serves one connection at port 1024: one line for each thing, `ok NAME` or
 * `missing NAME: WHY`, and last `uptime SECONDS`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <linux/vm_sockets.h>
#include <mqueue.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define GATE 1024
#define KNOCK 1025

static char report[16384];
static size_t length;

static void say(const char *name, int is_ok)
{
	int error = errno;
	length += snprintf(report + length, sizeof report - length,
			   is_ok ? "ok %s\n" : "missing %s: %s\n", name, strerror(error));
}

static int holds(const char *file, const char *text)
{
	char content[8192];
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, content, sizeof content - 1);
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return 0;
	content[n] = 0;
	errno = ENODEV;
	return strstr(content, text) != NULL;
}

static int mounts(const char *what, const char *where, const char *kind, const char *data)
{
	mkdir(where, 0755);
	return mount(what, where, kind, 0, data) == 0;
}

/* Runs in a child, because a namespace is for life. */
static int unshares(int flag)
{
	int status, child = fork();
	if (child == 0)
		_exit(unshare(flag) == 0 ? 0 : errno);
	if (waitpid(child, &status, 0) != child)
		return 0;
	errno = WEXITSTATUS(status);
	return status == 0;
}

static void file_systems(void)
{
	say("mount devtmpfs", mounts("dev", "/dev", "devtmpfs", ""));
	say("mount proc", mounts("proc", "/proc", "proc", ""));
	say("mount sysfs", mounts("sys", "/sys", "sysfs", ""));
	say("mount cgroup2", mounts("cgroup", "/cgroup", "cgroup2", ""));
	say("cgroup cpu", holds("/cgroup/cgroup.controllers", "cpu"));
	say("cgroup memory", holds("/cgroup/cgroup.controllers", "memory"));
	say("cgroup pids", holds("/cgroup/cgroup.controllers", "pids"));
	say("mount tmpfs", mounts("box", "/box", "tmpfs", "size=16m"));
	mkdir("/box/lower", 0755);
	mkdir("/box/upper", 0755);
	mkdir("/box/work", 0755);
	say("overlay xattr", setxattr("/box/upper", "trusted.overlay.opaque", "y", 1, 0) == 0);
	removexattr("/box/upper", "trusted.overlay.opaque");
	say("user xattr", setxattr("/box/lower", "user.key", "value", 5, 0) == 0);
	say("mount overlay", mounts("root", "/box/root", "overlay",
				    "lowerdir=/box/lower,upperdir=/box/upper,workdir=/box/work"));
	say("write overlay", open("/box/root/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644) >= 0);
	say("erofs", holds("/proc/filesystems", "\terofs\n"));
	say("squashfs", holds("/proc/filesystems", "\tsquashfs\n"));
	say("ext4", holds("/proc/filesystems", "\text4\n"));
	say("fuse", holds("/proc/filesystems", "\tfuse\n"));
	say("fuse device", open("/dev/fuse", O_RDWR | O_CLOEXEC) >= 0);
	mkdir("/dev/pts", 0755);
	say("mount devpts", mounts("pts", "/dev/pts", "devpts", "newinstance,ptmxmode=0666"));
	int pty = posix_openpt(O_RDWR | O_NOCTTY);
	say("pty", pty >= 0 && grantpt(pty) == 0 && unlockpt(pty) == 0);
	say("mount mqueue", mounts("mqueue", "/dev/mqueue", "mqueue", ""));
}

static void calls(void)
{
	sigset_t none;
	sigemptyset(&none);
	say("epoll", epoll_create1(EPOLL_CLOEXEC) >= 0);
	say("eventfd", eventfd(0, EFD_CLOEXEC) >= 0);
	say("signalfd", signalfd(-1, &none, SFD_CLOEXEC) >= 0);
	say("timerfd", timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC) >= 0);
	say("inotify", inotify_init1(IN_CLOEXEC) >= 0);
	say("fanotify", fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC, O_RDONLY) >= 0);
	say("memfd", memfd_create("probe", MFD_CLOEXEC) >= 0);
	say("message queue (POSIX)", mq_open("/probe", O_CREAT | O_RDWR, 0600, NULL) >= 0);
	say("message queue (System V)", msgget(IPC_PRIVATE, 0600) >= 0);
	say("user namespace", unshares(CLONE_NEWUSER));
	say("pid namespace", unshares(CLONE_NEWPID));
	say("network namespace", unshares(CLONE_NEWNET));
	say("uts namespace", unshares(CLONE_NEWUTS));
	say("ipc namespace", unshares(CLONE_NEWIPC));
	say("mount namespace", unshares(CLONE_NEWNS));
	say("cgroup namespace", unshares(CLONE_NEWCGROUP));
	/* SECCOMP_GET_ACTION_AVAIL of SECCOMP_RET_ERRNO */
	unsigned int action = 0x00050000;
	say("seccomp filter", syscall(SYS_seccomp, 2, 0, &action) == 0);
	/* LANDLOCK_CREATE_RULESET_VERSION; its number is the same on all architectures */
	say("landlock", syscall(444, NULL, 0, 1) >= 1);
	say("unix socket", socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
	say("ipv4", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
	say("ipv6", socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
	say("netlink", socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0) >= 0);
	/* What must not be there. */
	say("no io_uring", syscall(425, 1, NULL) < 0 && errno == ENOSYS);
	say("no bpf", syscall(SYS_bpf, 0, NULL, 0) < 0 && errno == ENOSYS);
	say("no raw frames", socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0) < 0);
	say("no /dev/mem", access("/dev/mem", F_OK) < 0);
	say("no modules", access("/proc/modules", F_OK) < 0);
}

static void devices(void)
{
	char content[12] = "";
	int disk = open("/dev/vda", O_RDONLY | O_CLOEXEC);
	ssize_t n = disk < 0 ? -1 : read(disk, content, 11);
	say("virtio disk", n == 11 && strcmp(content, "agentkernel") == 0);
	say("virtio network", access("/sys/class/net/eth0", F_OK) == 0);
	char balloon[64];
	int number = 0;
	do
		snprintf(balloon, sizeof balloon, "/sys/bus/virtio/drivers/virtio_balloon/virtio%d", number);
	while (access(balloon, F_OK) != 0 && ++number < 16);
	say("virtio balloon", number < 16);
	say("virtio random numbers", holds("/sys/class/misc/hw_random/rng_current", "virtio_rng"));
	say("random numbers at once", syscall(SYS_getrandom, content, 8, 1) == 8);
	char two[32];
	snprintf(two, sizeof two, "%ld processors", sysconf(_SC_NPROCESSORS_ONLN));
	errno = ENODEV;
	say(two, sysconf(_SC_NPROCESSORS_ONLN) == 2);
}

static int socket_to(unsigned int cid, unsigned int port, int listens)
{
	struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	int result = listens ? bind(fd, (void *)&address, sizeof address)
			     : connect(fd, (void *)&address, sizeof address);
	if (result == 0 && listens)
		result = listen(fd, 4);
	return result == 0 ? fd : -1;
}

static void send_all(int fd, const char *text, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, text, size);
		if (n <= 0)
			return;
		text += n;
		size -= n;
	}
}

int main(void)
{
	struct timespec ready;
	clock_gettime(CLOCK_BOOTTIME, &ready);
	int gate = socket_to(VMADDR_CID_ANY, GATE, 1);
	if (gate < 0)
		perror("probe: listen on vsock");
	int knock = socket_to(VMADDR_CID_HOST, KNOCK, 0);
	if (knock < 0)
		perror("probe: knock");
	send_all(knock, "agentkernel-probe 1\n", 20);
	close(knock);
	int host = accept4(gate, NULL, NULL, SOCK_CLOEXEC);
	file_systems();
	calls();
	devices();
	length += snprintf(report + length, sizeof report - length, "uptime %ld.%03ld\n", ready.tv_sec,
			   ready.tv_nsec / 1000000);
	send_all(host, report, length);
	/* Until the host has read it all and closed. An end of our half of the stream would not get through. */
	char byte;
	while (read(host, &byte, 1) > 0)
		;
	reboot(RB_AUTOBOOT);
	return 1;
}
