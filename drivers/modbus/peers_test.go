//go:build peers

package modbus_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

// dialPymodbus starts a pymodbus server and opens a link to it.
func dialPymodbus(t *testing.T, window int) *rig {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", "testdata/pymodbus_server.py")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("pymodbus server: %v", err)
		}
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("port of the pymodbus server: %v", err)
	}
	link, err := modbus.New().Open(t.Context(), driver.LinkConfig{
		Timeout:  10 * timeout,
		Settings: json.RawMessage(fmt.Sprintf(`{"url":"tcp://127.0.0.1:%s","window":%d}`, strings.TrimSpace(port), window)),
	}, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = link.Close(context.Background()) })
	return &rig{t: t, link: link}
}

// Every type in every order by every function that writes it.
func TestPeerPymodbusRoundTrips(t *testing.T) {
	for _, settings := range []string{
		`{"unit":1}`,
		`{"unit":17,"write":"fc6","write_coil":"fc15","write_bit":"read_modify_write"}`,
		`{"unit":17,"write":"fc16","write_bit":"read_modify_write"}`,
	} {
		for _, window := range []int{1, 8} {
			t.Run(fmt.Sprintf("%s/window=%d", settings, window), func(t *testing.T) {
				dialPymodbus(t, window).roundTrips(settings)
			})
		}
	}
}

func TestPeerPymodbusTables(t *testing.T) {
	u := dialPymodbus(t, 4).mustUnit(`{"max_block":10}`, "discrete:0", "discrete:1999", "input:100", "input:65535", "coil:3", "holding:4")
	want := []driver.Value{yes, yes, u64(0x1234), u64(0x1234), no, u64(0)}
	for i, sample := range u.mustPoll() {
		if sample.Quality != driver.Good || !sample.Value.Equal(want[i]) {
			t.Errorf("%s is %v %v: %v", u.points[i].Address, sample.Quality, sample.Value, sample.Fault)
		}
	}
}
