package pack

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// checkStat refuses what somebody else could change, or what is not a plain file or
// directory.
func checkStat(s *unix.Stat_t, kind uint32) error {
	switch have := s.Mode & unix.S_IFMT; {
	case have == unix.S_IFLNK:
		return errors.New("is a symbolic link: only plain files are taken")
	case have != kind && kind == unix.S_IFDIR:
		return errors.New("is not a directory")
	case have != kind:
		return errors.New("is not a plain file")
	case s.Mode&(unix.S_ISUID|unix.S_ISGID|unix.S_ISVTX) != 0 && kind == unix.S_IFREG:
		return errors.New("has a setuid, setgid or sticky bit: remove it (chmod ug-s,-t)")
	case s.Mode&0o022 != 0:
		return errors.New("may be written by others than its owner: chmod go-w")
	case s.Uid != 0 && int(s.Uid) != os.Geteuid():
		return fmt.Errorf("belongs to user %d: it must belong to root or to the user of the gateway", s.Uid)
	case kind == unix.S_IFREG && s.Nlink > 1:
		return fmt.Errorf("has %d names (hard links): it may be changed under another one", s.Nlink)
	}
	return nil
}

// openAt opens a name of an open directory, which is no link and of the kind.
func openAt(dir *os.File, name string, kind uint32) (*os.File, *unix.Stat_t, error) {
	var s unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &s, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, nil, err
	}
	if err := checkStat(&s, kind); err != nil { // before it is opened: a device acts on that
		return nil, nil, err
	}
	flags := unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY
	if kind == unix.S_IFDIR {
		flags |= unix.O_DIRECTORY
	}
	fd, err := unix.Openat(int(dir.Fd()), name, flags, 0)
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	err = unix.Fstat(fd, &s)
	if err == nil {
		err = checkStat(&s, kind) // what was opened, which may be another by now
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, &s, nil
}
