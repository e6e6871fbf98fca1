/**
 * Docker's default seccomp profile as data: what is allowed to a container. It is an allow list; what is not named fails with
 * EPERM. Names that a kernel or architecture does not have are skipped when the program is compiled.
 */

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/** Allowed to everybody, by what they are about. */
const everybody: Readonly<Record<string, string>> = {
  'files and directories': `
    _llseek chdir close close_range copy_file_range creat dup dup2 dup3 fadvise64 fadvise64_64 fallocate fchdir
    fcntl fcntl64 fdatasync flock fsync ftruncate ftruncate64 getcwd getdents getdents64 io_cancel io_destroy
    io_getevents io_pgetevents io_setup io_submit ioctl link linkat listmount lseek mkdir mkdirat mknod mknodat open
    openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat
    readv rename renameat renameat2 rmdir sendfile sendfile64 splice symlink symlinkat sync sync_file_range syncfs
    tee truncate truncate64 unlink unlinkat vmsplice write writev`,
  'attributes of files': `
    access cachestat chmod chown chown32 faccessat faccessat2 fchmod fchmodat fchmodat2 fchown fchown32 fchownat
    fgetxattr flistxattr fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 futimesat getxattr
    getxattrat landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr listxattr
    listxattrat llistxattr lremovexattr lsetxattr lstat lstat64 name_to_handle_at newfstatat removexattr
    removexattrat setxattr setxattrat stat stat64 statfs statfs64 statmount statx umask utime utimensat
    utimensat_time64 utimes`,
  identity: `
    capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp
    getpriority getresgid getresgid32 getresuid getresuid32 getsid getuid getuid32 ioprio_get ioprio_set setfsgid
    setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority setregid setregid32
    setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setsid setuid setuid32`,
  sockets: `
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
    recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair`,
  'waiting for files': `
    _newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
    eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch poll ppoll
    ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4 timerfd_create timerfd_gettime timerfd_gettime64
    timerfd_settime timerfd_settime64`,
  'messages, semaphores and shared memory': `
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget`,
  signals: `
    kill pause pidfd_send_signal restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
    rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask
    sigreturn tgkill tkill`,
  time: `
    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 futex_time64 getitimer gettimeofday io_pgetevents_time64 nanosleep
    sched_rr_get_interval_time64 setitimer time timer_create timer_delete timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64 times`,
  memory: `
    brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2
    mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease
    process_vm_readv process_vm_writev remap_file_pages`,
  'processes and scheduling': `
    execve execveat exit exit_group fork futex futex_requeue futex_wait futex_waitv futex_wake get_robust_list
    get_thread_area getcpu getpid getppid getrandom getrlimit getrusage gettid pidfd_open prctl prlimit64 ptrace
    riscv_hwprobe rseq sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler
    sched_yield seccomp set_robust_list set_thread_area set_tid_address setrlimit sysinfo ugetrlimit uname uretprobe
    vfork wait4 waitid waitpid`,
};
export const ALWAYS_ALLOWED: readonly string[] = Object.values(everybody).flatMap(words);

/** Allowed on top to who has the capability: the kernel checks these by that capability too, but has had bugs behind it. */
export const ALLOWED_BY_CAPABILITY: Readonly<Record<string, readonly string[]>> = {
  CAP_DAC_READ_SEARCH: ['open_by_handle_at'],
  CAP_SYS_ADMIN: words(`
    bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
    lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
    sethostname setns syslog umount umount2 unshare`),
  CAP_SYS_BOOT: ['reboot'],
  CAP_SYS_CHROOT: ['chroot'],
  CAP_SYS_MODULE: words('delete_module finit_module init_module'),
  CAP_SYS_PACCT: ['acct'],
  CAP_SYS_PTRACE: words('kcmp pidfd_getfd process_madvise'),
  CAP_SYS_RAWIO: words('ioperm iopl'),
  CAP_SYS_TIME: words('clock_settime clock_settime64 settimeofday stime'),
  CAP_SYS_TTY_CONFIG: ['vhangup'],
  CAP_SYS_NICE: words('get_mempolicy mbind set_mempolicy set_mempolicy_home_node'),
  CAP_SYSLOG: ['syslog'],
  CAP_BPF: ['bpf'],
  CAP_PERFMON: ['perf_event_open'],
};

/** Architectures by the name that Node gives them: the native one first, then those whose programs it runs as well. */
export const ARCHITECTURES: Readonly<Record<string, { readonly names: readonly string[]; readonly allowed: readonly string[] }>> = {
  x64: { names: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'], allowed: ['arch_prctl', 'modify_ldt'] },
  arm64: {
    names: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
    allowed: words('arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2'),
  },
};

/** personality(2): query, Linux, UNAME26, and both with 32-bit addresses. */
export const PERSONALITIES: readonly number[] = [0x0, 0x8, 0x20000, 0x20008, 0xffff_ffff];

/** Address families below this are allowed as a range ... */
export const SOCKET_FAMILIES_BELOW = 12;
/** ... and these singly. Left out are those with a history of holes and no use in a container: AF_ALG (38), AF_VSOCK (40), and old ones. */
export const SOCKET_FAMILIES: readonly number[] = [
  13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45,
];

/** clone(2)'s flags that make namespaces: all CLONE_NEW* but CLONE_NEWTIME, which shares its bit with the signal mask. */
export const CLONE_NAMESPACE_FLAGS = 0x7e02_0000;

/** errno.h: what clone3 answers, so that libc falls back to clone, whose flags a filter can see. */
export const ENOSYS = 38;
