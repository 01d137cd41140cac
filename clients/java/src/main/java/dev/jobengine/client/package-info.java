/**
 * Client of the job engine: runs commands and containers as jobs, over gRPC.
 *
 * <p>{@link dev.jobengine.client.JobEngineClient} has the methods. Requests, jobs and events are
 * the messages of {@link dev.jobengine.v1}. All errors are {@link
 * dev.jobengine.client.JobEngineException}s.
 */
package dev.jobengine.client;
