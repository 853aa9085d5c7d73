package plugin_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/wire/wiretest"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

func TestFloodOfDetached(t *testing.T) {
	log := newLogBuffer()
	c := detached("flood:100")
	c.Log = log.logger()
	p := launch(t, c)
	awaitRead(t, p.Record().Dir)
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := p.Exit().Stderr
	if len(lines) != 20 || lines[len(lines)-1] != "the last line" {
		t.Errorf("kept %d lines, the last %.100q", len(lines), lines[max(0, len(lines)-3):])
	}
	if n := len(log.String()); n > 8<<20 {
		t.Errorf("%d bytes logged", n)
	}
}

// awaitRead waits until all that a detached process wrote to stderr has been read.
func awaitRead(t *testing.T, dir string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		places, err := os.ReadFile(filepath.Join(dir, "read"))
		info, statErr := os.Stat(filepath.Join(dir, "stderr"))
		if err == nil && statErr == nil && len(places) == 16 && int64(binary.LittleEndian.Uint64(places[8:])) == info.Size() {
			return
		}
		<-time.After(time.Millisecond)
	}
	t.Fatal("the lines are not read after 30 s")
}

// TestFloodWithoutCore floods the lines of a process that nobody reads.
func TestFloodWithoutCore(t *testing.T) {
	o := startOther(t, ",later:100")
	o.kill(t)
	path := filepath.Join(o.record.Dir, "stderr")
	if err := unix.PidfdSendSignal(o.driver, unix.SIGUSR1, nil, 0); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, filepath.Join(o.record.Dir, "stderr"), "the last line")
	info, err := os.Stat(path)
	if err != nil || info.Size() > 64<<20 {
		t.Errorf("%d bytes: %v", info.Size(), err)
	}
	log := newLogBuffer()
	c := command("")
	c.Log = log.logger()
	p := reattach(t, o.record, c)
	if err := p.Write(t.Context(), "l", "d", "p", driver.Int64Value(0)); err != nil {
		t.Errorf("after the flood: %v", err)
	}
	if _, err := p.Drain(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if _, err := p.Apply(t.Context(), wiretest.State(), control.ApplyOptions{Standby: true, HandOff: []byte("phases")}); err != nil {
		t.Error(err)
	}
}
