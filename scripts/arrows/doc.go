// Package arrows checks which package of the module may import which. It has
// nothing but a test.
package arrows
