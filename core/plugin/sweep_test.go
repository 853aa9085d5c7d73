package plugin_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

func TestSweepTakesWhatNobodyUses(t *testing.T) {
	c := command("fake")
	c.RunDir = t.TempDir()
	p, err := host.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	alive := filepath.Base(filepath.Dir(p.Identity().Address))
	note := readNote(t, filepath.Join(c.RunDir, alive+".start"))
	left := []string{"plugin-dir1", "plugin-dir2/sub/sub", "plugin-dir3", "other", "plugin-file"}
	for _, name := range left {
		if err := os.MkdirAll(filepath.Join(c.RunDir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.RunDir, name, "stderr"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(c.RunDir, "plugin-dir4")); err != nil {
		t.Fatal(err)
	}
	keep := []wire.Record{note, {Dir: filepath.Join(c.RunDir, "plugin-dir3")}}
	if err := (host.Leftovers{RunDir: c.RunDir, Keep: keep}).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(c.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{"other", "plugin-dir3", "plugin-dir4", "plugin-file", alive, alive + ".start"}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("left are %v, want %v", names, want)
	}
	if _, err := p.Status(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	nowhere := host.Leftovers{RunDir: filepath.Join(c.RunDir, "nowhere"), Owner: "nobody"}
	if err := nowhere.Sweep(t.Context()); err != nil {
		t.Errorf("of a directory that is not there: %v", err)
	}
}

// readNote reads the note of a process that runs.
func readNote(t *testing.T, path string) (r wire.Record) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What a core that was killed has left is found by the note of its start, also while it
// starts, does not answer or has become another program; and without the note by its mark.
func TestSweepEndsWhatNobodyKnows(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(o *otherCore) error
		owner string
		keep  bool
		lives bool
	}{
		"known":           {keep: true, lives: true},
		"unknown":         {},
		"without its dir": {spoil: func(o *otherCore) error { return os.RemoveAll(o.record.Dir) }},
		"stopped":         {spoil: func(o *otherCore) error { return unix.PidfdSendSignal(o.driver, unix.SIGSTOP, nil, 0) }},
		"run dir gone":    {spoil: func(o *otherCore) error { return os.RemoveAll(o.run) }, owner: testOwner},
		"run dir moved":   {spoil: func(o *otherCore) error { return os.Rename(o.run, o.run+"-moved") }, owner: testOwner},
		"other mark":      {spoil: func(o *otherCore) error { return os.Remove(o.record.Note) }, owner: testOwner + "2", lives: true},
		"known by mark":   {spoil: func(o *otherCore) error { return os.Remove(o.record.Note) }, owner: testOwner, keep: true, lives: true},
		"other note": {spoil: func(o *otherCore) error {
			text, err := os.ReadFile(o.record.Note)
			if err != nil {
				return err
			}
			later := fmt.Sprintf(`"start":%d`, o.record.Start+1)
			return os.WriteFile(o.record.Note, bytes.Replace(text, fmt.Appendf(nil, `"start":%d`, o.record.Start), []byte(later), 1), 0o600)
		}, lives: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := startOther(t, ",parent:")
			child := childIn(t, o)
			t.Cleanup(func() { _ = unix.PidfdSendSignal(child, unix.SIGKILL, nil, 0) }) // a driver that is killed leaves it
			o.kill(t)
			if tc.spoil != nil {
				if err := tc.spoil(o); err != nil {
					t.Fatal(err)
				}
			}
			l := host.Leftovers{RunDir: o.run, Owner: tc.owner}
			if tc.keep {
				l.Keep = append(l.Keep, o.record)
			}
			if err := l.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !tc.lives {
				waitDead(t, o.driver)
				waitDead(t, child)
				return
			}
			for _, process := range []int{o.driver, child} {
				if err := unix.PidfdSendSignal(process, 0, nil, 0); err != nil {
					t.Errorf("a process that was to be kept: %v", err)
				}
			}
		})
	}
}

// Notes may lie in a directory that is not there yet, and a process that cannot be noted is
// not started.
func TestNotesElsewhere(t *testing.T) {
	c := detached("fake")
	c.Notes = filepath.Join(t.TempDir(), "data", "run")
	p := launch(t, c)
	note := p.Record().Note
	if r := readNote(t, note); r.PID != p.PID() || filepath.Dir(note) != c.Notes {
		t.Errorf("note %s of process %d is %+v", note, p.PID(), r)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	leftIn(t, c.Notes)
	if err := os.WriteFile(filepath.Join(c.Notes, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Notes, c.RunDir = filepath.Join(c.Notes, "file"), t.TempDir()
	if _, err := host.Launch(t.Context(), c); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("started without a note: %v", err)
	}
	leftIn(t, c.RunDir)
}
