package e2e_test

import (
	"testing"

	"github.com/fieldloom/fieldloom/test/apifuzz"
)

// Whatever is asked of the API is answered, and what is wrong with a request is its caller's
// fault; `make chaos` asks 20,000 times.
func TestAPIAnswersEverything(t *testing.T) { apifuzz.Run(t, 600, 1) }
