package e2e_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/test/plant"
)

const (
	installed = "/usr/local/lib/fieldloom"
	etc       = "/etc/fieldloom"
	nobody    = 65534
)

// unitKeys are the keys of docs/fieldloom.service.
func unitKeys(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open("../../docs/fieldloom.service")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	keys := make(map[string]string)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if k, v, ok := strings.Cut(lines.Text(), "="); ok && !strings.HasPrefix(k, "#") {
			keys[k] = v
		}
	}
	return keys
}

// documentedYAML is what the lines of docs/operate.md print into fieldloom.yaml.
func documentedYAML(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^printf '(.*)' >/etc/fieldloom/fieldloom.yaml$`).FindSubmatch(text)
	if m == nil {
		t.Fatal("docs/operate.md has no line that writes /etc/fieldloom/fieldloom.yaml")
	}
	return strings.ReplaceAll(string(m[1]), `\n`, "\n")
}

// TestService runs what the documented unit runs, with the documented configuration,
// in other directories: a user that may write to the state directory only.
func TestService(t *testing.T) {
	bins, keys := plant.Build(t), unitKeys(t)
	state := "/var/lib/" + keys["StateDirectory"]
	dir := t.TempDir()
	moved := map[string]string{installed: string(bins), etc: filepath.Join(dir, "etc"), state: filepath.Join(dir, "state")}
	move := func(text string) string {
		for from, to := range moved {
			text = strings.ReplaceAll(text, from, to)
		}
		return text
	}
	config, data := moved[etc], moved[state]
	for path, mode := range map[string]os.FileMode{config: 0o755, data: 0o700} {
		if err := os.Mkdir(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(config, "fieldloom.yaml"), []byte(move(documentedYAML(t))), 0o644); err != nil {
		t.Fatal(err)
	}
	args := strings.Fields(move(keys["ExecStart"]))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "STATE_DIRECTORY=" + data}
	if os.Geteuid() == 0 {
		openWay(t, string(bins), dir)
		if err := os.Chown(data, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	} else if err := os.Chmod(config, 0o555); err != nil {
		t.Fatal(err)
	}
	serve(t, cmd, config)
}

// openWay lets other users pass through the temporary directories above the paths.
func openWay(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		for ; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// serve starts the gateway, waits until its API answers, reloads it and stops it.
func serve(t *testing.T, cmd *exec.Cmd, config string) {
	t.Helper()
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer cmd.Process.Kill() // it has ended where all is well
	for {
		var status struct{ Gateway string }
		out, err := exec.Command(cmd.Path, "status", "--json", "--config", config).Output()
		if err == nil && json.Unmarshal(out, &status) == nil {
			if status.Gateway != "plant-7" {
				t.Errorf("status of %q", status.Gateway)
			}
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("the gateway ended: %v\n%s", err, log.String())
		case <-time.After(50 * time.Millisecond): // nothing tells from outside when the socket is there
		}
	}
	for _, signal := range []os.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("the gateway ended: %v\n%s", err, log.String())
	}
}
