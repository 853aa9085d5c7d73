// Package confine limits what a driver process can do before any of the driver's
// code runs, and executes the driver by descriptor, never by a path.
//
// The nouns:
//
//   - A Policy says what one driver process may reach: files, devices, TCP ports,
//     memory. What it does not name is refused.
//   - The shim is the gateway's own binary, started in the driver's place. It
//     applies the policy to itself and then becomes the driver.
//   - An image is the executable as an open file: a sealed memfd, or a private copy.
//   - A Report says what is in force for a process and what this machine could not do.
//
// Policy.Prepare rewrites an exec.Cmd so that the shim starts. Main is the shim; a program that
// prepares commands calls it first thing in its main, where it returns at once unless the
// process is a shim. The shim knows what it is by its argument list, which the driver does not
// inherit, and never by the environment, which it does. It executes the image only when
// Pending.Started was called: with Off too, where it does nothing else. So whoever starts a
// process can write down that there is one before there is anything that acts, and nothing acts
// of a start that its starter did not survive.
//
// # Order
//
// The shim's steps, each of which must not take away what a later one needs:
//
//  1. Every descriptor but the three standard ones and those that the command passes
//     on is marked to be closed by the exec. First, so that nothing can be forgotten later.
//  2. no_new_privs and Landlock. They need the gateway's identity, because the paths
//     of the policy are opened here; the image's descriptor is unaffected.
//  3. The bounding set, while there are capabilities to drop it with; the groups and the
//     user, with which root's are lost; the other capabilities.
//  4. The resource limits. As late as this because the shim is a Go program itself.
//  5. The gateway's word that it knows the process.
//  6. seccomp. Last, because it refuses all of the above.
//  7. The report goes to the gateway, and the shim executes the image. The filter lets
//     one exec through, this one: it asks a second thread of the shim, which says yes
//     once. The exec ends that thread, and from then on nobody is there to ask, so the
//     kernel refuses every other exec.
//
// docs/confinement.md has the table of what is refused on which kernel.
package confine
