//go:build chaos

package chaos_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/test/apifuzz"
)

// TestAPIAnswersEverything makes 20,000 calls. FIELDLOOM_CALLS and FIELDLOOM_SEED are for a
// run of another length, and for one that was red.
func TestAPIAnswersEverything(t *testing.T) {
	calls, seed := int64(20_000), uint64(time.Now().UnixNano())
	var err error
	if text := os.Getenv("FIELDLOOM_CALLS"); text != "" {
		if calls, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("FIELDLOOM_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	apifuzz.Run(t, calls, seed)
}
