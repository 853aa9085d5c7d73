package e2e_test

import (
	"errors"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/test/plant"
)

// A gateway that is asked to end while it starts does: a signal of any moment counts.
func TestSignalsOfTheStart(t *testing.T) {
	t.Parallel()
	bins := plant.Build(t)
	var wg sync.WaitGroup
	for range 4 {
		dir := t.TempDir()
		bins.WriteConfig(t, dir, "gateway: early\n", "links: {}\n")
		wg.Go(func() {
			for range 25 {
				cmd := exec.Command(filepath.Join(bins.Executables(), "fieldloom"), "run", "--config", dir)
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				after := rand.N(80 * time.Millisecond)
				time.Sleep(after)
				_ = cmd.Process.Signal(syscall.SIGTERM) // it has not been waited for, so it is there
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				select {
				case err := <-ended:
					var exit *exec.ExitError
					if err != nil && !errors.As(err, &exit) {
						t.Error(err)
					}
				case <-time.After(patience):
					t.Errorf("it goes on after a signal %v after its start", after)
					_ = cmd.Process.Kill()
					<-ended
				}
			}
		})
	}
	wg.Wait()
}
