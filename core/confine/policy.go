package confine

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// A Mode says what happens where the machine cannot do all of it.
type Mode uint8

const (
	// Off starts the image with no confinement at all.
	Off Mode = iota
	// BestEffort applies what the machine can do, and reports the rest.
	BestEffort
	// Required fails the start where something necessary is missing.
	Required
)

// ParseMode reads what a configuration says.
func ParseMode(text string) (Mode, error) {
	for _, m := range []Mode{Off, BestEffort, Required} {
		if m.String() == text {
			return m, nil
		}
	}
	return Off, fmt.Errorf("confine: %q is none of required, best-effort, off", text)
}

func (m Mode) String() string {
	switch m {
	case Required:
		return "required"
	case BestEffort:
		return "best-effort"
	}
	return "off"
}

// MarshalText writes a mode as the configuration has it.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (m *Mode) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMode(string(text))
	return err
}

// What a process gets where its policy does not say.
const (
	DefaultMemory   = 512 << 20
	DefaultFiles    = 8192
	DefaultFileSize = 256 << 20
	DefaultTasks    = 512
)

// Unlimited in place of a number of bytes lifts a limit.
const Unlimited = -1

// A Policy says what one driver process may do. The zero Policy confines nothing,
// because its Mode is Off; with any other mode, everything that is not named here is
// refused: no file, no network, no child process.
type Policy struct {
	Mode Mode

	// Read are files, and directories with all that is below them. So are the other paths.
	Read    []string
	Write   []string // may be read, written, created and removed
	Execute []string // may be read and executed, also later on; empty: nothing but the image, once
	Devices []string // ttys: read, write, ioctl
	RunDir  string   // the private socket directory of the process

	ConnectTCP []uint16 // ports, on any host
	TCP        bool     `json:",omitzero"` // connections to any port
	BindTCP    []uint16 // local ports to listen on
	ConnectUDP []uint16 // ports to send datagrams to
	UDP        bool     // any UDP at all
	Unix       bool     // may connect to other processes' Unix sockets

	Memory    int64 // bytes of private memory; 0: DefaultMemory
	FileSize  int64 // bytes of the largest file it may write; 0: DefaultFileSize
	Files     int   // open descriptors; 0: DefaultFiles
	Tasks     int   // threads and processes together; 0: DefaultTasks
	UserTasks int   // those of all processes of UID, which the kernel counts together; 0: Tasks
	Processes int   // child processes that it may start; 0: none

	// UID and GID are whom it runs as, where the gateway is root; 0: as the gateway.
	UID, GID int
	Groups   []int // further groups, beside those of its devices

	// Cgroup is a cgroup v2 directory to make a group in, as Delegated gives it.
	Cgroup   string
	NoCgroup string // why there is none, for the report
}

func (p Policy) withDefaults() Policy {
	if p.Memory == 0 {
		p.Memory = DefaultMemory
	}
	if p.FileSize == 0 {
		p.FileSize = DefaultFileSize
	}
	if p.Files <= 0 {
		p.Files = DefaultFiles
	}
	if p.Tasks <= 0 {
		p.Tasks = DefaultTasks
	}
	p.UserTasks = max(p.UserTasks, p.Tasks)
	return p
}

func (p Policy) check() error {
	if p.UID < 0 || p.GID < 0 {
		return fmt.Errorf("confine: user %d, group %d: neither may be negative", p.UID, p.GID)
	}
	if p.UID != 0 && p.GID == 0 {
		return errors.New("confine: a user without a group would keep root's group: give a group")
	}
	for _, paths := range [][]string{p.Read, p.Write, p.Execute, p.Devices} {
		for _, path := range paths {
			if !strings.HasPrefix(path, "/") {
				return fmt.Errorf("confine: path %q: give an absolute path", path)
			}
		}
	}
	return nil
}

// executes reports whether the process may execute anything after its start.
func (p *Policy) executes() bool { return len(p.Execute) > 0 }

// User sets whom the process runs as: a name, or "UID:GID". An empty name is nobody
// else than the gateway.
func (p *Policy) User(name string) error {
	if name == "" {
		return nil
	}
	var uid, gid int
	if n, err := fmt.Sscanf(name, "%d:%d", &uid, &gid); err != nil || n != 2 {
		found, err := user.Lookup(name)
		if err != nil {
			return fmt.Errorf("confine: user %q: %w", name, err)
		}
		uid, err = strconv.Atoi(found.Uid)
		if err != nil {
			return fmt.Errorf("confine: user %q: %w", name, err)
		}
		if gid, err = strconv.Atoi(found.Gid); err != nil {
			return fmt.Errorf("confine: user %q: %w", name, err)
		}
	}
	if uid <= 0 || gid <= 0 {
		return fmt.Errorf("confine: user %q is root, or in root's group: choose another", name)
	}
	p.UID, p.GID = uid, gid
	return nil
}

// AllGroups are the groups of a process that is started now and has a user of its own: the
// user's, those asked for, and of each device the group that it is shared with (dialout, in
// most places), except root's.
func (p *Policy) AllGroups() []int {
	groups := append([]int{p.GID}, p.Groups...)
	for _, path := range p.Devices {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		s, ok := info.Sys().(*syscall.Stat_t)
		if ok && s.Gid != 0 && info.Mode().Perm()&0o060 == 0o060 {
			groups = append(groups, int(s.Gid))
		}
	}
	return groups
}

// What is applied to a process has types of its own, each with the part of a policy that it
// depends on.

func (p *Policy) network() network {
	return network{TCP: p.TCP, ConnectTCP: p.ConnectTCP, BindTCP: p.BindTCP, ConnectUDP: p.ConnectUDP, UDP: p.UDP, Unix: p.Unix}
}

func (p *Policy) filter() *filter {
	return &filter{network: p.network(), Processes: p.Processes}
}

func (p *Policy) landlock() *landlock {
	return &landlock{
		network: p.network(), Read: p.Read, Write: p.Write, Execute: p.Execute, Devices: p.Devices,
		RunDir: p.RunDir, Processes: p.Processes,
	}
}

func (p *Policy) limits() *limits {
	return &limits{
		Memory: p.Memory, FileSize: p.FileSize, Files: p.Files, Tasks: p.Tasks, UserTasks: p.UserTasks,
		ownUser: p.UID != 0,
	}
}

func (p *Policy) identity() *identity {
	i := &identity{UID: p.UID, GID: p.GID}
	if i.UID != 0 {
		i.groups = p.AllGroups()
	}
	return i
}
