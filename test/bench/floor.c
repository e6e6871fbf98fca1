// The least that a container start can cost: clone3 of all namespaces, overlay, pivot_root, proc, exec; no cgroup, no
// seccomp, no devices. Everything above this figure is what a runtime adds.
//   floor LOWER DIRECTORY COMMAND [ARGUMENT...]     DIRECTORY holds upper/ and work/, on a real file system
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc < 4) errx(2, "usage: floor LOWER DIRECTORY COMMAND...");
  struct clone_args args;
  memset(&args, 0, sizeof args);
  args.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;
  args.exit_signal = SIGCHLD;
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) err(1, "clone3");
  if (pid > 0) {
    int status = 0;
    if (waitpid((pid_t)pid, &status, 0) < 0) err(1, "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  char options[8192];
  snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work", argv[1], argv[2], argv[2]);
  char merged[4096];
  snprintf(merged, sizeof merged, "%s/merged", argv[2]);
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) err(1, "make / private");
  if (mount("overlay", merged, "overlay", 0, options)) err(1, "mount overlay");
  if (chdir(merged)) err(1, "chdir");
  if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL)) err(1, "mount proc");
  if (syscall(SYS_pivot_root, ".", ".")) err(1, "pivot_root");
  if (umount2(".", MNT_DETACH)) err(1, "umount");
  if (chdir("/")) err(1, "chdir /");
  execv(argv[3], argv + 3);
  err(127, "exec %s", argv[3]);
}
