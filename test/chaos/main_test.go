//go:build chaos

package chaos_test

import (
	"os"
	"testing"

	"github.com/fieldloom/fieldloom/test/plant"
)

func TestMain(m *testing.M) { os.Exit(plant.Run(m)) }
