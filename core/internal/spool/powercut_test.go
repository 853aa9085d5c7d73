package spool_test

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// image is the content of a spool's directory.
type image map[string][]byte

func capture(t testing.TB, dir string) image {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	img := image{}
	for _, f := range list {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			return capture(t, dir) // rewritten meanwhile: what stands for it may not be in the list
		}
		if err != nil {
			t.Fatal(err)
		}
		img[f.Name()] = b
	}
	return img
}

func (img image) restore(t testing.TB) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "image")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range img {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// logs gives the names of the log's files in order.
func (img image) logs() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(img)), func(n string) bool { return !strings.HasSuffix(n, ".log") })
}

// torn gives a directory as a power cut may leave it between two groups: of the
// sectors written since before, any may have reached the disk, in any order, and
// the hint of the end is an old one. A file that begins within the group proves
// that those before it are whole.
func torn(before, after image) image {
	img := maps.Clone(before)
	names := after.logs()
	fresh := slices.DeleteFunc(slices.Clone(names), func(n string) bool { _, old := before[n]; return old })
	reach := rand.IntN(len(fresh) + 1)
	at := len(names) - len(fresh) + reach - 1
	for i, name := range names[:at+1] {
		if i < at {
			img[name] = after[name]
			continue
		}
		img[name] = tornFile(before[name], after[name])
	}
	return img
}

func tornFile(before, after []byte) []byte {
	const sector = 512
	b := append(slices.Clone(before), make([]byte, len(after)-len(before))...)
	for at := len(before) / sector * sector; at < len(after); at += sector {
		end := min(at+sector, len(after))
		if rand.IntN(2) == 0 {
			copy(b[at:end], after[at:end])
		}
	}
	if rand.IntN(2) == 0 {
		b = b[:len(before)+rand.IntN(len(after)-len(before)+1)]
	}
	return b
}

func TestFaultPowerCutInAGroup(t *testing.T) {
	oneGroup := smallFiles
	oneGroup.CommitEvery = -1 // what is filled in at once is one group, however slow the machine
	dir := t.TempDir()
	s := open(t, dir, oneGroup)
	fill(t, s, "modbus", 1, 1)
	before, acked := capture(t, dir), uint64(1)
	n := rounds(100, 2000)
	kept := uint64(0)
	for range n {
		next := acked + 1 + rand.Uint64N(40)
		fill(t, s, "modbus", acked+1, next)
		after := capture(t, dir)

		cut := open(t, torn(before, after).restore(t), oneGroup)
		_, stored := cut.Mark("modbus")
		if stored < acked || stored > next {
			t.Fatalf("%d records were acknowledged, %d are stored", acked, stored)
		}
		kept += stored - acked
		fill(t, cut, "modbus", acked+1, next+5) // the driver sends what was not acknowledged again
		got := readAll(t, cut, 0)
		if d := cmp.Diff(sequence(1, next+5), got.sequences["modbus"]); d != "" || got.lost > 0 || cut.Stats().Lost > 0 {
			t.Fatalf("lost %+v\n%s", cut.Losses(), d)
		}
		if err := cut.Close(); err != nil {
			t.Fatal(err)
		}
		before, acked = after, next
		if acked > 1500 { // begin anew: the directory is copied in each round
			s.Close()
			dir = t.TempDir()
			s = open(t, dir, oneGroup)
			fill(t, s, "modbus", 1, 1)
			before, acked = capture(t, dir), 1
		}
	}
	t.Logf(`{"fault":"power cut within a group","rounds":%d,"acknowledged_lost":0,"twice":0,"kept_of_the_unfinished_groups":%d}`, n, kept)
}

// TestUnfinishedGroupBeforeAnEmptyFile is what a failed sync and a crash leave:
// records that were never acknowledged, and behind them a file begun in vain.
func TestUnfinishedGroupBeforeAnEmptyFile(t *testing.T) {
	for _, tc := range []struct {
		name   string
		intact []uint64 // of the unfinished group 4 to 6
		stored uint64
	}{
		{"whole", []uint64{4, 5, 6}, 6},
		{"without its first", []uint64{5, 6}, 3},
		{"without its second", []uint64{4, 6}, 4},
		{"gone", nil, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log []byte
			for n := uint64(1); n <= 3; n++ {
				log = append(log, spool.EncodeEntry(record("modbus", n), spool.Position(n), fuzzTag, int(n-1))...)
			}
			for n := uint64(4); n <= 6; n++ {
				b := spool.EncodeEntry(record("modbus", n), spool.Position(n), fuzzTag, int(n-4))
				if !slices.Contains(tc.intact, n) {
					b[40] ^= 1
				}
				log = append(log, b...)
			}
			dir := image{fuzzName: log, "0000000000000004-0000000000000000.log": nil}.restore(t)
			s := open(t, dir, smallFiles)
			if _, stored := s.Mark("modbus"); stored != tc.stored {
				t.Errorf("%d are stored, want %d", stored, tc.stored)
			}
			fill(t, s, "modbus", 4, 8)
			got := readAll(t, s, 0)
			if d := cmp.Diff(sequence(1, 8), got.sequences["modbus"]); d != "" || got.lost > 0 {
				t.Errorf("lost %d\n%s", got.lost, d)
			}
		})
	}
}

// TestFaultPowerCutOfAFileSystem stops a gateway in the midst of its work on a
// file system of its own, takes what has reached the device, and opens that.
func TestFaultPowerCutOfAFileSystem(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a loop device")
	}
	for _, tool := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	n := rounds(4, 40)
	var acked, beyond uint64
	for range n {
		a, b := cutPower(t)
		acked, beyond = acked+a, beyond+b
	}
	t.Logf(`{"fault":"power cut by a snapshot of a loop-mounted image","rounds":%d,"acknowledged":%d,"lost":0,"twice":0,"stored_before_the_ack":%d}`, n, acked, beyond)
}

func cutPower(t *testing.T) (acked, beyond uint64) {
	t.Helper()
	tmp := t.TempDir()
	img, snapshot := filepath.Join(tmp, "disk"), filepath.Join(tmp, "snapshot")
	f, err := os.Create(img)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(32<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.ext4", "-q", img)
	mnt := mount(t, img)

	c := startChild(t, filepath.Join(mnt, "spool"), 1, "append")
	c.read(t, 50+rand.IntN(2000))
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(c.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("wait for the stop: %v %v", status, err)
	}
	copyFile(t, img, snapshot)
	if err := c.pipe.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	c.read(t, 1<<30) // everything acknowledged before the stop is in the pipe
	c.kill(t)
	c.wait()

	s := open(t, filepath.Join(mount(t, snapshot), "spool"), smallFiles)
	defer s.Close()
	_, stored := s.Mark("modbus")
	if stored < c.last {
		t.Fatalf("%d records were acknowledged, %d are stored", c.last, stored)
	}
	got := readAll(t, s, 0)
	if d := cmp.Diff(sequence(1, stored), got.sequences["modbus"]); d != "" || got.lost > 0 {
		t.Fatalf("lost %+v\n%s", s.Losses(), d)
	}
	return c.last, stored - c.last
}

func mount(t *testing.T, img string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	out, err := exec.Command("mount", "-o", "loop", img, dir).CombinedOutput()
	if err != nil {
		t.Skipf("this machine mounts no loop device: %v: %s", err, out)
	}
	t.Cleanup(func() { run(t, "umount", dir) })
	return dir
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
