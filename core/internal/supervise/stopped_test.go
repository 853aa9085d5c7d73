//go:build chaos

package supervise_test

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// A core that is stopped for longer than a process may be silent, and then goes on, finds
// its processes well. It is this test that is stopped, and the simulator with it.
func TestACoreThatWasStoppedKillsNobody(t *testing.T) {
	p := newPlant(t, 3, 100*time.Millisecond)
	p.want(supervise.Desired{})
	p.await(3)
	waker := exec.Command("sh", "-c", fmt.Sprintf("sleep 8; kill -CONT %d", os.Getpid()))
	if err := waker.Start(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := waker.Wait(); err != nil {
		t.Error(err)
	}
	p.await(40) // some seconds, in which the silence would be judged
	if s := p.s.Status(t.Context())[0]; s.Restarts != 0 {
		t.Errorf("%d restarts: %s", s.Restarts, s.Cause)
	}
}
