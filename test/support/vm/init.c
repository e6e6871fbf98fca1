// The guest's first process (static; /init of the initramfs): makes a copy-on-write view of the host's root, runs one
// command in it, passes its output on, writes its exit status and powers off.
//
// Kernel command line  vmrun.dir=DIR   the run's directory on the host: conf, shares, cmd.sh; gets rc
//                      vmrun.mods=DIR  the host's directory that holds lib/modules/RELEASE
// conf                 lines "key value": home, cgroups (v1 or v2), disk (a device or nothing)
// shares               lines "w:/dir" (the host's, read-write) and "c:/dir" (copy-on-write, where /tmp would hide it)
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { kMaxShares = 64, kDeviceTries = 500, kQuietMs = 200, kCannotRun = 125 };

static char run_dir[512], modules_dir[512], conf_text[8192], shares_text[16384];

// ---- small helpers; memory is never freed, as this process runs once and powers off ----

static char *format(const char *pattern, ...) {
  char *text;
  va_list arguments;
  va_start(arguments, pattern);
  if (vasprintf(&text, pattern, arguments) < 0) _exit(kCannotRun);
  va_end(arguments);
  return text;
}

static void power_off(void) {
  sync();
  reboot(RB_POWER_OFF);
  for (;;) pause();
}

static void die(const char *what) {
  int console = open("/dev/console", O_WRONLY | O_NOCTTY);
  dprintf(console < 0 ? 2 : console, "vm init: %s: %s\n", what, strerror(errno));
  tcdrain(console);
  usleep(100000);
  power_off();
}

static void need(int result, const char *what) {
  if (result < 0) die(what);
}

/// Reads a whole text file, at most size - 1 bytes. False when it cannot be opened.
static int read_text(const char *path, char *buffer, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  size_t total = 0;
  ssize_t count;
  while (total < size - 1 && (count = read(fd, buffer + total, size - 1 - total)) > 0) total += (size_t)count;
  buffer[total] = 0;
  close(fd);
  return 1;
}

static void write_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return;
  if (write(fd, text, strlen(text)) < 0) dprintf(2, "vm init: write '%s': %s\n", path, strerror(errno));
  close(fd);
}

static void make_dirs(const char *path) {
  char *copy = format("%s", path);
  for (char *slash = copy + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
    *slash = 0;
    mkdir(copy, 0755);
  }
  mkdir(copy, 0755);
}

static int mount_at(const char *source, const char *target, const char *type, unsigned long flags, const char *options) {
  make_dirs(target);
  return mount(source, target, type, flags, options);
}

static void copy_file(const char *from, const char *to, mode_t mode) {
  char buffer[65536];
  ssize_t count;
  int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  while (in >= 0 && out >= 0 && (count = read(in, buffer, sizeof buffer)) > 0)
    if (write(out, buffer, (size_t)count) < 0) break;
  close(in);
  close(out);
}

/// Value of a key of conf, "" if it has none.
static const char *conf(const char *key) {
  size_t length = strlen(key);
  for (const char *line = conf_text; *line; line += strcspn(line, "\n") + (line[strcspn(line, "\n")] == '\n'))
    if (!strncmp(line, key, length) && line[length] == ' ') return format("%.*s", (int)strcspn(line + length + 1, "\n"), line + length + 1);
  return "";
}

// ---- the command ----

/// Opens a raw character device that may still be on its way. PATTERN is a glob.
static int open_port(const char *pattern) {
  for (int i = 0; i < kDeviceTries; i++, usleep(10000)) {
    glob_t found;
    struct stat status;
    int fd = -1;
    if (!glob(pattern, 0, 0, &found) && found.gl_pathc && !stat(found.gl_pathv[0], &status) && S_ISCHR(status.st_mode))
      fd = open(found.gl_pathv[0], O_RDWR | O_NOCTTY | O_CLOEXEC);
    globfree(&found);
    if (fd >= 0) return fd;
  }
  die(pattern);
  return -1;
}

static void write_all(int fd, const char *bytes, ssize_t count) {
  while (count > 0) {
    ssize_t written = write(fd, bytes, (size_t)count);
    if (written < 0 && errno != EINTR && errno != EAGAIN) return;
    if (written > 0) bytes += written, count -= written;
  }
}

static void exec_command(int out, int err) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, 0);
  setsid();
  int in = open("/dev/null", O_RDONLY);
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  execl("/bin/bash", "bash", "--norc", "--noprofile", "/run/vmrun/cmd.sh", (char *)0);
  _exit(kCannotRun);
}

/// Reaps everything that has ended; the command's exit status, or -1 while it runs.
static int reap(int signal_fd, pid_t command, int known) {
  struct signalfd_siginfo info;
  while (read(signal_fd, &info, sizeof info) > 0) {
  }
  pid_t pid;
  int status;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
    if (pid == command) known = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return known;
}

static void run_command(void) {
  int ports[2] = {open_port("/dev/vport[0-9]p1"), open_port("/dev/vport[0-9]p2")};
  int pipes[2][2];
  for (int i = 0; i < 2; i++) need(pipe2(pipes[i], O_CLOEXEC), "pipe");
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_BLOCK, &children, 0);
  int signal_fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  pid_t command = fork();
  if (command == 0) exec_command(pipes[0][1], pipes[1][1]);
  close(pipes[0][1]);
  close(pipes[1][1]);

  struct pollfd fds[3] = {{pipes[0][0], POLLIN, 0}, {pipes[1][0], POLLIN, 0}, {signal_fd, POLLIN, 0}};
  int status = command < 0 ? kCannotRun : -1;
  char buffer[65536];
  while (status < 0 || fds[0].fd >= 0 || fds[1].fd >= 0) {
    // What the command leaves behind may hold the pipes for ever: after its end a short silence is the end.
    if (poll(fds, 3, status < 0 ? -1 : kQuietMs) == 0) break;
    for (int i = 0; i < 2; i++) {
      if (fds[i].fd < 0 || !fds[i].revents) continue;
      ssize_t count = read(fds[i].fd, buffer, sizeof buffer);
      if (count > 0) write_all(ports[i], buffer, count);
      if (count == 0) fds[i].fd = -1;
    }
    if (fds[2].revents) status = reap(signal_fd, command, status);
  }
  for (int i = 0; i < 2; i++) tcdrain(ports[i]);
  write_text("/run/vmrun/rc", format("%d\n", status));
  power_off();
}

// ---- the world ----

static void load_modules(void) {
  static char order[4096];
  if (!read_text("/mod/order", order, sizeof order)) return;
  for (char *name = strtok(order, " \n"); name; name = strtok(0, " \n")) {
    int fd = open(format("/mod/%s", name), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || syscall(SYS_finit_module, fd, "", 0)) die(name);
    close(fd);
  }
}

static void mount_cgroup2(void) {
  static char controllers[4096];
  need(mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, "nsdelegate"), "mount cgroup2");
  if (!read_text("/sys/fs/cgroup/cgroup.controllers", controllers, sizeof controllers)) return;
  for (char *name = strtok(controllers, " \n"); name; name = strtok(0, " \n"))
    write_text("/sys/fs/cgroup/cgroup.subtree_control", format("+%s", name));
}

static void mount_cgroup1(void) {
  static char table[16384];
  const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  need(mount("cgroup", "/sys/fs/cgroup", "tmpfs", 0, "mode=755"), "mount a tmpfs for cgroups");
  if (!read_text("/proc/cgroups", table, sizeof table)) return;
  for (char *line = strtok(table, "\n"); line; line = strtok(0, "\n")) {
    char name[64];
    int is_enabled;
    if (*line == '#' || sscanf(line, "%63s %*d %*d %d", name, &is_enabled) != 2 || !is_enabled) continue;
    mount_at("cgroup", format("/sys/fs/cgroup/%s", name), "cgroup", flags, name);
  }
  mount_at("cgroup", "/sys/fs/cgroup/systemd", "cgroup", flags, "none,name=systemd");
}

static void mount_devices(void) {
  mount_at("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=620,gid=5,ptmxmode=666");
  mount_at("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  mount_at("mqueue", "/dev/mqueue", "mqueue", 0, 0);
  const char *links[][2] = {{"/proc/self/fd", "/dev/fd"}, {"fd/0", "/dev/stdin"}, {"fd/1", "/dev/stdout"}, {"fd/2", "/dev/stderr"}};
  for (size_t i = 0; i < sizeof links / sizeof *links; i++) need(symlink(links[i][0], links[i][1]), links[i][1]);
  mknod("/dev/fuse", S_IFCHR | 0666, makedev(10, 229));
  mknod("/dev/loop-control", S_IFCHR | 0600, makedev(10, 237));
}

static void raise_loopback(void) {
  struct ifreq request = {.ifr_name = "lo"};
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  need(ioctl(fd, SIOCSIFFLAGS, &request), "raise lo");
  close(fd);
}

/// Modules of the running kernel, and the modprobe that it calls.
static void offer_modules(void) {
  struct utsname kernel;
  struct stat status;
  uname(&kernel);
  char *modules = format("/host%s/lib/modules/%s", modules_dir, kernel.release);
  if (stat(modules, &status)) return;
  mount_at(modules, format("/new/lib/modules/%s", kernel.release), 0, MS_BIND, 0);
  if (!stat("/new/usr/sbin/modprobe", &status)) return;
  copy_file(format("/host%s/root/bin/kmod", conf("home")), "/new/usr/sbin/modprobe", 0755);
  const char *library = "usr/lib/x86_64-linux-gnu/libkmod.so.2";
  if (stat(format("/new/%s", library), &status)) copy_file(format("/host%s/root/%s", conf("home"), library), format("/new/%s", library), 0644);
}

/// An overlay cannot hold another one's upper directory, so /tmp and the like are a tmpfs, or the scratch disk. What
/// they would hide and must not is moved on top.
static void mount_scratch(void) {
  struct {
    char *path;
    int fd;
  } kept[kMaxShares];
  int count = 0;
  for (char *line = shares_text; *line; line += strcspn(line, "\n") + (line[strcspn(line, "\n")] == '\n')) {
    if (*line != 'c' || count == kMaxShares) continue;
    char *path = format("/new%.*s", (int)strcspn(line, "\n") - 2, line + 2);
    int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path, 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);
    if (fd >= 0) kept[count].path = path, kept[count++].fd = fd;
  }
  mount_at("run", "/new/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
  make_dirs("/new/run/lock");
  const char *disk = conf("disk");
  if (*disk) {
    struct stat status;
    for (int i = 0; i < kDeviceTries && stat(disk, &status); i++) usleep(10000);
    need(mount_at(disk, "/new/run/scratch", "ext4", MS_NOATIME, 0), "mount the scratch disk");
  }
  const char *folders[] = {"/tmp", "/var/tmp"};
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    char *target = format("/new%s", folders[i]), *source = format("/new/run/scratch%s", folders[i]);
    if (!*disk) {
      need(mount_at("tmp", target, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"), target);
      continue;
    }
    make_dirs(source);
    chmod(source, 01777);
    need(mount_at(source, target, 0, MS_BIND, 0), target);
  }
  for (int i = 0; i < count; i++) {
    make_dirs(kept[i].path);
    syscall(SYS_move_mount, kept[i].fd, "", AT_FDCWD, kept[i].path, 4 /* MOVE_MOUNT_F_EMPTY_PATH */);
    close(kept[i].fd);
  }
}

static void mount_writable_shares(void) {
  for (char *line = shares_text; *line; line += strcspn(line, "\n") + (line[strcspn(line, "\n")] == '\n')) {
    if (*line != 'w') continue;
    int length = (int)strcspn(line, "\n") - 2;
    need(mount_at(format("/host%.*s", length, line + 2), format("/new%.*s", length, line + 2), 0, MS_BIND, 0), "mount a share");
  }
}

static void read_command_line(void) {
  static char text[8192];
  read_text("/proc/cmdline", text, sizeof text);
  for (char *word = strtok(text, " \n"); word; word = strtok(0, " \n")) {
    sscanf(word, "vmrun.dir=%511s", run_dir);
    sscanf(word, "vmrun.mods=%511s", modules_dir);
  }
}

static void switch_root(void) {
  const char *moved[] = {"proc", "sys", "dev"};
  for (size_t i = 0; i < sizeof moved / sizeof *moved; i++)
    need(mount(format("/%s", moved[i]), format("/new/%s", moved[i]), 0, MS_MOVE, 0), moved[i]);
  umount2("/host", MNT_DETACH);
  umount2("/ov", MNT_DETACH);
  if (chdir("/new") || mount(".", "/", 0, MS_MOVE, 0) || chroot(".") || chdir("/")) die("switch root");
  mount(0, "/", 0, MS_REC | MS_PRIVATE, 0);
}

int main(void) {
  umask(022);
  clearenv();
  setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
  setenv("HOME", "/root", 1);
  const unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  mount_at("proc", "/proc", "proc", safe, 0);
  mount_at("sysfs", "/sys", "sysfs", safe, 0);
  mount_at("dev", "/dev", "devtmpfs", MS_NOSUID, "mode=755");
  int null = open("/dev/null", O_RDWR);
  for (int i = 0; i < 3; i++) dup2(null, i);

  read_command_line();
  load_modules();
  need(mount_at("host", "/host", "virtiofs", 0, 0), "mount virtiofs");
  if (!read_text(format("/host%s/conf", run_dir), conf_text, sizeof conf_text)) die("conf");
  read_text(format("/host%s/shares", run_dir), shares_text, sizeof shares_text);

  need(mount_at("ov", "/ov", "tmpfs", 0, "mode=755"), "mount a tmpfs for the overlay");
  make_dirs("/ov/upper");
  make_dirs("/ov/work");
  need(mount_at("root", "/new", "overlay", 0, "lowerdir=/host,upperdir=/ov/upper,workdir=/ov/work"), "overlay on the host's root");
  mount_devices();
  if (strcmp(conf("cgroups"), "v1")) mount_cgroup2();
  else mount_cgroup1();
  write_text("/proc/sys/kernel/hostname", "strata-vm");
  raise_loopback();
  offer_modules();
  mount_scratch();
  mount_writable_shares();
  need(mount_at(format("/host%s", run_dir), "/new/run/vmrun", 0, MS_BIND, 0), "bind the run's directory");
  switch_root();
  run_command();
}
