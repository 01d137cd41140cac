// Package scenarios plays the cases that clients of all languages have to pass, against real
// servers. JOBENGINE_STAGE says where those are to be had.
package scenarios
