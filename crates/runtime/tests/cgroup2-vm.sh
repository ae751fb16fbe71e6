#!/bin/sh
# The runtime's integration tests on a pure cgroup v2 machine: a small VM without network (TCG, about half a minute).
# Needs qemu-system-x86, cpio, busybox-static, and apt to fetch Debian's cloud kernel once.
# usage: cgroup2-vm.sh [arguments for the test binary]
set -eu
cd "$(dirname "$0")/../../.."
target=${CARGO_TARGET_DIR:-target}
cargo test -q -p corten-runtime --no-run
tests=$(cargo test -p corten-runtime --test it --no-run 2>&1 | sed -n 's/.*(\(.*\))$/\1/p')
cache=$target/cgroup2-vm
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$cache"
if [ ! -e "$cache/vmlinuz" ]; then
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    (cd "$cache" && apt-get download "$package" && dpkg-deb -x "$package"_*.deb kernel)
    cp "$cache"/kernel/boot/vmlinuz-* "$cache/vmlinuz"
    find "$cache/kernel" -name overlay.ko -exec cp {} "$cache/overlay.ko" \;
fi

mkdir -p "$root/bin" "$root/etc" "$root/proc" "$root/sys" "$root/dev" "$root/newroot" "$root/t/deps" "$root/t/examples"
cp /bin/busybox "$root/bin/"
for applet in sh mount umount mkdir insmod cat cp touch poweroff switch_root nsenter ip; do
    ln -s busybox "$root/bin/$applet"
done
cp "$cache/overlay.ko" "$root/"
cp "$tests" "$root/t/deps/it"
cp "$target/debug/examples/run" "$root/t/examples/run"
strip "$root/t/deps/it" "$root/t/examples/run"
for library in $(ldd "$tests" | grep -o '/[^ ]*'); do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
cat > "$root/init" <<INIT
#!/bin/sh
if [ ! -e /second ]; then
    # pivot_root cannot leave the initial file system: move to a tmpfs.
    mount -t tmpfs -o size=1500m none /newroot
    for each in /bin /etc /lib* /t /init /overlay.ko; do cp -a \$each /newroot/; done
    mkdir -p /newroot/proc /newroot/sys /newroot/dev /newroot/tmp
    touch /newroot/second
    exec switch_root /newroot /init
fi
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts none /dev/pts
mount -t tmpfs none /dev/shm
mount -t cgroup2 none /sys/fs/cgroup
insmod /overlay.ko
export PATH=/bin
/t/deps/it --test-threads 2 --skip registry --skip images $* && echo cgroup2-vm: passed
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > "$cache/initrd"
timeout 600 qemu-system-x86_64 -accel tcg,thread=multi -smp 2 -m 4096 -nographic -no-reboot -net none \
    -kernel "$cache/vmlinuz" -initrd "$cache/initrd" -append "console=ttyS0 quiet panic=-1" | tee "$cache/log"
grep -q 'cgroup2-vm: passed' "$cache/log"
