package plugin_test

import (
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/host"
)

func TestSecretsAndGateway(t *testing.T) {
	log := newLogBuffer()
	c := command("fake")
	c.Services, c.Log, c.Level = &services{kept: map[string][]byte{}}, log.logger(), slog.LevelDebug
	p := launch(t, c)
	samples, err := p.Read(t.Context(), "secret", "line1", []string{"broker"})
	if err != nil || samples[0].Value.Str() != "geheim" {
		t.Errorf("%v %v", samples, err)
	}
	if _, err := p.Read(t.Context(), "secret", "line2", []string{"broker"}); driver.CodeOf(err) != driver.Denied {
		t.Errorf("secret of a link that does not name it: %v", err)
	}
	for _, name := range []string{"", strings.Repeat("n", 257)} {
		if _, err := p.Read(t.Context(), "secret", "line1", []string{name}); driver.CodeOf(err) != driver.BadValue {
			t.Errorf("name of %d bytes: %v", len(name), err)
		}
	}
	if name := readText(t, p, "gateway"); name != "plant-7" {
		t.Errorf("gateway %q", name)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "geheim") {
		t.Error("the secret is in the log")
	}
}

func TestSecretWithoutServices(t *testing.T) {
	p := launch(t, command("fake"))
	if _, err := p.Read(t.Context(), "secret", "line1", []string{"broker"}); driver.CodeOf(err) != driver.Unsupported {
		t.Errorf("%v", err)
	}
}

func TestLevelChangesWhileItRuns(t *testing.T) {
	lines := make(chan host.Line, 10)
	c := command("fake")
	c.OnLine = func(l host.Line) { lines <- l }
	p := launch(t, c)
	for _, tc := range []struct {
		level slog.Level
		want  []string
	}{
		{slog.LevelInfo, []string{"seen by all"}},
		{slog.LevelDebug, []string{"seen by a developer", "seen by all"}},
		{slog.LevelWarn, nil},
		{slog.LevelDebug, []string{"seen by a developer", "seen by all"}},
	} {
		if err := p.SetLevel(t.Context(), tc.level); err != nil {
			t.Fatal(err)
		}
		readText(t, p, "debug")
		for _, want := range tc.want {
			line := waitFor(t, lines, "line")
			if line.Text != want || line.Stream != "stderr" || line.PID != p.PID() {
				t.Errorf("at %v: %+v", tc.level, line)
			}
		}
	}
	if len(lines) != 0 {
		t.Errorf("%d lines more", len(lines))
	}
}

// TestDriverThatIgnoresItsOrders has a driver that deadlocks in Drain.
func TestDriverThatIgnoresItsOrders(t *testing.T) {
	p := launch(t, detached("fake"))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := p.Drain(ctx, []string{"ignored"}); driver.CodeOf(err) != driver.Timeout {
		t.Errorf("%v", err)
	}
	if _, err := p.Status(t.Context()); err != nil {
		t.Errorf("another call: %v", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnswersOf100MB(t *testing.T) {
	p := launch(t, detached("fake"))
	for range 3 {
		if _, err := p.Read(t.Context(), "100 MB", "", nil); driver.CodeOf(err) != driver.Protocol && driver.CodeOf(err) != driver.Busy {
			t.Errorf("%v", err)
		}
	}
	if _, err := p.Status(t.Context()); err != nil {
		t.Errorf("the call after it: %v", err)
	}
}

func TestPreparedCommand(t *testing.T) {
	called, told := 0, errors.New("not called")
	c := command("fake")
	c.Prepare = func(cmd *exec.Cmd, socketDir string) (func(error), error) {
		cmd.Args = append(cmd.Args, "prepared", socketDir)
		return func(err error) { called++; told = err }, nil
	}
	p := launch(t, c)
	if args := readText(t, p, "args"); !strings.Contains(args, " prepared "+filepath.Dir(p.Identity().Address)) {
		t.Errorf("arguments %q", args)
	}
	if called != 1 || told != nil {
		t.Errorf("told of the start %d times: %v", called, told)
	}
	refused := errors.New("the policy cannot be applied")
	c.RunDir = t.TempDir()
	c.Prepare = func(*exec.Cmd, string) (func(error), error) { return nil, refused }
	if _, err := host.Launch(t.Context(), c); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	leftIn(t, c.RunDir)
}
