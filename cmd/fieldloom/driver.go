package main

// driverWord is the words about drivers.
type driverWord struct {
	Keygen driverKeygenWord `cmd:"" help:"Make a key pair that signs packages."`
	Pack   driverPackWord   `cmd:"" help:"Make a signed package of executables and a draft of the manifest."`
	Sign   driverSignWord   `cmd:"" help:"Sign a package that lies in a directory."`
	Verify driverVerifyWord `cmd:"" help:"Check a package as a gateway does."`
}
