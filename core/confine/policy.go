package confine

import (
	"errors"
	"fmt"
	"strings"
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

// tcp reports whether the process needs sockets for TCP, udp for UDP.
func (p *Policy) tcp() bool { return p.TCP || len(p.ConnectTCP)+len(p.BindTCP) > 0 }
func (p *Policy) udp() bool { return p.UDP || len(p.ConnectUDP) > 0 }

// connects reports whether the process has any reason to open a connection.
func (p *Policy) connects() bool { return p.TCP || len(p.ConnectTCP) > 0 || p.udp() || p.Unix }

// executes reports whether the process may execute anything after its start.
func (p *Policy) executes() bool { return len(p.Execute) > 0 }
