package host_test

import (
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/host"
)

// TestFollowerTellsOfLossesNowAndThen has a process that makes the file of its lines long
// and short a thousand times in a moment, which costs it nothing.
func TestFollowerTellsOfLossesNowAndThen(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	synctest.Test(t, func(t *testing.T) {
		const times, size = 1000, 8 << 20
		var told, lost atomic.Int64
		wake, ended := make(chan struct{}, 1), make(chan struct{})
		follower := host.NewFollower(file, wake, ended, func(bytes int64) { told.Add(1); lost.Add(bytes) })
		read := make(chan int64, 1)
		go func() {
			n, _ := io.Copy(io.Discard, follower)
			read <- n
		}()
		for range times {
			for _, size := range []int64{size, 0} {
				if err := file.Truncate(size); err != nil {
					t.Fatal(err)
				}
				wake <- struct{}{}
				synctest.Wait()
			}
		}
		if n := told.Load(); n != 1 {
			t.Errorf("told %d times in a moment", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := told.Load(); n != 2 {
			t.Errorf("told %d times after it", n)
		}
		close(ended)
		if all := <-read + lost.Load(); all != times*size {
			t.Errorf("%d bytes read or told of, of %d", all, times*size)
		}
	})
}
