#!/bin/busybox sh
# The first process of the bed: shows the host's files with a writable layer in memory, then runs one command after the
# other that the host asks for over a virtio port. A request is a line, a word that is new each time: the command is in
# /host/FOLDER/command-WORD. The answer is `WORD begin`, all the command prints, and `WORD end STATUS`.
b=/bin/busybox
die() {
    echo "bed: $*"
    $b poweroff -f
}
$b mkdir -p /proc /sys /host /upper /root /lib/modules
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
while read -r module; do
    $b insmod "/modules/$module.ko" || die "module $module failed"
done </modules/order

options=trans=virtio,version=9p2000.L,ro,msize=512000
$b mount -t 9p -o $options,cache=mmap host /host || die 'no files of the host'
$b mount -t 9p -o $options,cache=loose modules /lib/modules
$b mount -t tmpfs -o mode=755 upper /upper
$b mkdir /upper/changed /upper/work
$b mount -t overlay -o lowerdir=/host,upperdir=/upper/changed,workdir=/upper/work root /root || die 'no overlay'
for folder in proc sys dev; do
    $b mount -o rbind /$folder /root/$folder
done
$b mkdir -p /dev/pts /dev/shm /root/lib/modules
$b mount -o bind /lib/modules /root/lib/modules
$b mount -t devpts -o ptmxmode=666 pts /root/dev/pts
$b mount -t tmpfs shm /root/dev/shm
$b mount -t tmpfs run /root/run
$b mount -t cgroup2 cgroup /root/sys/fs/cgroup
$b ip link set lo up
$b hostname firecracker-svm

for port in /sys/class/virtio-ports/*; do
    [ "$($b cat "$port/name")" = bed ] && exec 3<>"/dev/${port##*/}"
done
[ -e /proc/self/fd/3 ] || die 'no port'
while :; do
    # Nothing is read while nobody is connected on the host's side.
    if ! read -r word <&3; then
        $b usleep 50000
        continue
    fi
    # The host's files may have changed beneath the overlay since the last command.
    echo 2 >/proc/sys/vm/drop_caches
    command=$($b cat "/host$FOLDER/command-$word")
    echo "$word begin" >&3
    $b chroot /root /bin/sh -c "$command" </dev/null >&3 2>&3
    echo "$word end $?" >&3
done
