package confine_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	seccomp "github.com/elastic/go-seccomp-bpf"

	"github.com/fieldloom/fieldloom/core/confine"
)

// The shim reads the image's head while it still has the gateway's rights.
func FuzzLoaders(f *testing.F) {
	f.Add([]byte("#!/bin/sh -e\n"))
	f.Add([]byte("#! \x00\n"))
	f.Add([]byte("#!/proc/self/exe"))
	if program, err := os.ReadFile("/bin/sh"); err == nil {
		f.Add(program[:min(len(program), 4096)])
	}
	f.Fuzz(func(t *testing.T, image []byte) {
		found, err := confine.Loaders(bytes.NewReader(image))
		if err == nil && len(found) > 5 {
			t.Errorf("%d loaders: %q", len(found), found)
		}
	})
}

// Whatever a process puts into the registers, a call that no rule names is not made.
func FuzzFilter(f *testing.F) {
	strict := newJudge(f, confine.Policy{Devices: []string{"/dev/ttyS0"}})
	loose := newJudge(f, confine.Policy{ConnectTCP: []uint16{502}, UDP: true, Unix: true, Processes: 9})
	never := strings.Fields(`ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd pidfd_send_signal kcmp
		mount umount2 pivot_root chroot unshare setns fsopen fsmount move_mount open_tree mount_setattr
		bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key
		init_module finit_module delete_module kexec_load kexec_file_load reboot swapon acct
		execve memfd_create memfd_secret clone3 setuid setgid setresuid setgroups capset personality seccomp
		chmod fchmod fchmodat fchmodat2 chown fchown fchownat lchown utimensat setxattr mknod mknodat truncate
		open_by_handle_at name_to_handle_at inotify_init1 fanotify_init shmget semget msgget mq_open
		sched_setaffinity sched_setscheduler setpriority ioprio_set settimeofday clock_settime adjtimex syslog
		setsid setpgid tkill rt_sigqueueinfo rt_tgsigqueueinfo process_madvise modify_ldt iopl ioperm quotactl`)
	f.Add(uint16(0), uint32(59), uint64(0), uint64(1), uint64(2), uint64(3), uint64(1<<63))
	f.Fuzz(func(t *testing.T, pick uint16, number uint32, a, b, c, d, e uint64) {
		for _, j := range []judge{strict, loose} {
			if name := never[int(pick)%len(never)]; j.info.SyscallNames[name] != 0 {
				if got := j.call(t, name, a, b, c, d, e); got == yes || got == ask {
					t.Errorf("%s(%#x, %#x, %#x, %#x, %#x): %v", name, a, b, c, d, e, got)
				}
			}
			if got := j.of(t, uint32(j.info.ID)^(1+number), uint32(pick), a, b, c, d, e); number != ^uint32(0) && got != kill {
				t.Errorf("another architecture: %v", got)
			}
			got := j.of(t, uint32(j.info.ID), number, a, b, c, d, e)
			if name, ok := j.info.SyscallNumbers[int(number)]; got == seccomp.ActionAllow && !ok {
				t.Errorf("call %d %q: allowed", number, name)
			}
		}
	})
}
