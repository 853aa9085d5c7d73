package confine

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// A Report says how a process is confined, in words for an operator.
type Report struct {
	Mode    Mode     `json:"mode"`
	InForce []string `json:"in_force,omitempty"`
	Missing []string `json:"missing,omitempty"` // what is not refused, and why: this machine cannot, or it is allowed as a whole

	// Granted are the single files and devices that the process was given. Rights hang
	// on the file that was there at the start, not on its name; see Stale.
	Granted []Granted `json:"granted,omitempty"`

	// Fault is why the image was not executed.
	Fault string `json:"fault,omitempty"`

	lacking []string // of Missing, what Required does not do without
}

// Granted is one file as it was when a process was given it; zeros: it was not there.
type Granted struct {
	Path   string `json:"path"`
	Device uint64 `json:"device,omitempty"`
	Inode  uint64 `json:"inode,omitempty"`
	// Born is when the file came to be, in ns since 1970: the number of an inode is used
	// again, at once for a pseudo terminal or an adapter that is plugged in again. Zero:
	// not known.
	Born int64 `json:"born,omitempty"`
}

// is reports whether both are the same file, as far as is known.
func (g Granted) is(other Granted) bool {
	return g.Device == other.Device && g.Inode == other.Inode && (g.Born == other.Born || g.Born == 0 || other.Born == 0)
}

func (r *Report) has(what string) { r.InForce = append(r.InForce, what) }

// lacks notes what is missing but not necessary, needs what is necessary.
func (r *Report) lacks(what string) { r.Missing = append(r.Missing, what) }

func (r *Report) needs(what string) {
	r.lacks(what)
	r.lacking = append(r.lacking, what)
}

// verdict is the error of a report under Required.
func (r *Report) verdict() error {
	if r.Mode != Required || len(r.lacking) == 0 {
		return nil
	}
	return errors.New("confine: required, but this machine lacks " + strings.Join(r.lacking, "; ") +
		": set confine to best-effort for this driver, or mend it")
}

// String is one line: "landlock abi 7: files, tcp; seccomp ... missing: cgroup ...".
func (r *Report) String() string {
	var b strings.Builder
	b.WriteString(r.Mode.String())
	if len(r.InForce) > 0 {
		b.WriteString(": " + strings.Join(r.InForce, "; "))
	}
	if len(r.Missing) > 0 {
		b.WriteString("; missing: " + strings.Join(r.Missing, "; "))
	}
	return b.String()
}

// Stale lists the files and devices that are there now and that the process does not
// have, as they are now: they were missing when it started, or were replaced since, as an
// adapter that is plugged in again and a resolv.conf that is written anew are. Only a new
// process can be given them.
func (r *Report) Stale() []Granted {
	var stale []Granted
	for _, g := range r.Granted {
		now := look(g.Path)
		if now.Inode != 0 && !now.is(g) {
			stale = append(stale, now)
		}
	}
	return stale
}

// look identifies the file at path.
func look(path string) Granted {
	g := Granted{Path: path}
	var s unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &s) == nil {
		g.Device, g.Inode, g.Born = unix.Mkdev(s.Dev_major, s.Dev_minor), s.Ino, born(&s)
	}
	return g
}

// born is the time of birth where the file system keeps one. That of pseudo terminals does
// not: there the last change of what is not its content stands for it, of a device, which
// using it does not change. A change of its mode or group is one too, after which a process
// should have another look.
func born(s *unix.Statx_t) int64 {
	at := s.Btime
	switch {
	case s.Mask&unix.STATX_BTIME != 0:
	case s.Mode&unix.S_IFMT == unix.S_IFCHR:
		at = s.Ctime
	default:
		return 0
	}
	return at.Sec*1e9 + int64(at.Nsec)
}
