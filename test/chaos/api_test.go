//go:build chaos

package chaos_test

import (
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/test/apifuzz"
)

func TestAPIAnswersEverything(t *testing.T) { apifuzz.Run(t, 20_000, uint64(time.Now().UnixNano())) }
