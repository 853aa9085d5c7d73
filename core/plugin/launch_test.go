package plugin_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

func TestStartsThatFail(t *testing.T) {
	for mode, want := range map[string]string{
		"loud":                                 `it printed "hello from the author" before its handshake`,
		"version:2":                            "it speaks version 2 of the driver protocol, the gateway speaks 1: update the one that is older",
		"endless":                              `it printed "eeee`,
		"crash":                                "it ended before it was ready: exit code 7; its last line: no such device",
		"mute":                                 "it was not ready in time",
		"plain":                                "the driver does not speak TLS",
		"handshake:1|1|tcp|192.0.2.1:80|grpc|": "only a Unix socket or a loopback address",
		"handshake:1|1|unix|/nowhere|netrpc|":  `it serves "netrpc", not grpc`,
		"handshake:1|1|unix|/nowhere|grpc|AAAA" + strings.Repeat("A", 60): "certificate in the handshake",
	} {
		c := command(mode)
		c.RunDir = t.TempDir()
		c.StartTimeout = 5 * time.Second
		if mode == "mute" {
			c.StartTimeout = 500 * time.Millisecond
		}
		_, err := host.Launch(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "start driver fake: ") {
			t.Errorf("%s: %v", mode, err)
		}
		if left, err := os.ReadDir(c.RunDir); err != nil || len(left) != 0 {
			t.Errorf("%s: left behind: %v %v", mode, left, err)
		}
	}
	c := command("fake")
	c.Path, c.RunDir = "/nowhere/driver-x", t.TempDir()
	if _, err := host.Launch(t.Context(), c); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
}

func TestLaunchGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := host.Launch(ctx, command("mute")); err == nil {
		t.Error("started under a context that is done")
	}
}

func TestDriverStartedByHand(t *testing.T) {
	for _, env := range []string{"A=b", wire.EnvCookie + "=wrong"} {
		byHand := exec.Command(os.Args[0])
		byHand.Env = []string{envMode + "=fake", env}
		out, err := byHand.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%v", err)
		}
		if !strings.Contains(string(out), "fake is a driver of the Fieldloom gateway (version 1.2.3)") {
			t.Errorf("it said %q", out)
		}
	}
}

func TestDriverSaysThatNoVersionFits(t *testing.T) {
	run := t.TempDir()
	old := exec.Command(os.Args[0])
	old.Env = []string{
		envMode + "=fake", wire.EnvCookie + "=" + wire.Cookie, wire.EnvVersions + "=2,3",
		"PLUGIN_UNIX_SOCKET_DIR=" + run,
	}
	said := newLogBuffer()
	old.Stderr = said
	out, err := old.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 1024)
	n, _ := out.Read(line)
	if !strings.HasPrefix(string(line[:n]), "1|1|unix|") {
		t.Errorf("handshake %q", line[:n])
	}
	if err := old.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := old.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	want := "driver fake speaks version 1 of the driver protocol, the gateway offers 2,3: update the one that is older"
	if !strings.Contains(said.String(), want) {
		t.Errorf("it said %q", said.String())
	}
}

func TestSocketRefusesStrangers(t *testing.T) {
	p, other := launch(t, command("fake")), launch(t, command("fake"))
	stranger := p.Identity()
	stranger.Certificate, stranger.Key = other.Identity().Certificate, other.Identity().Key
	strange, err := stranger.TLS()
	if err != nil {
		t.Fatal(err)
	}
	for name, creds := range map[string]credentials.TransportCredentials{
		"without TLS":      insecure.NewCredentials(),
		"with another key": credentials.NewTLS(strange),
	} {
		if _, err := describe(t, p.Identity().Address, creds); err == nil {
			t.Errorf("a stranger %s was answered", name)
		}
	}
	impostor := p.Identity()
	impostor.Driver = other.Identity().Driver
	expecting, err := impostor.TLS()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := describe(t, p.Identity().Address, credentials.NewTLS(expecting)); err == nil {
		t.Error("the core took another process for the one that it started")
	}
}

func TestIdentityCanBeKept(t *testing.T) {
	p := launch(t, command("fake"))
	kept, err := json.Marshal(p.Identity())
	if err != nil {
		t.Fatal(err)
	}
	var id wire.Identity
	if err := json.Unmarshal(kept, &id); err != nil {
		t.Fatal(err)
	}
	if id.PID != p.PID() || id.Version != 1 {
		t.Errorf("%d %d", id.PID, id.Version)
	}
	config, err := id.TLS()
	if err != nil {
		t.Fatal(err)
	}
	if d, err := describe(t, id.Address, credentials.NewTLS(config)); err != nil || d.GetName() != "fake" {
		t.Errorf("with the identity that was kept: %v %v", d, err)
	}
}

func describe(t *testing.T, address string, creds credentials.TransportCredentials) (*driverv1.DescribeResponse, error) {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+address, grpc.WithTransportCredentials(creds), grpc.WithAuthority("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return driverv1.NewDriverServiceClient(conn).Describe(ctx, &driverv1.DescribeRequest{})
}
