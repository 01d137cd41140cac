package dev.jobengine.client;

import dev.jobengine.v1.Job;
import dev.jobengine.v1.JobEngineGrpc;
import dev.jobengine.v1.ListJobsRequest;
import dev.jobengine.v1.ListJobsResponse;
import java.util.Iterator;
import java.util.NoSuchElementException;

/** Jobs, page after page, each asked for when it is needed. */
final class JobPages implements Iterator<Job> {
  private final Transport transport;
  private final ListJobsRequest.Builder request;
  private Iterator<Job> page;
  private boolean last;

  JobPages(Transport transport, ListJobsRequest request) {
    this.transport = transport;
    this.request = request.toBuilder();
  }

  @Override
  public boolean hasNext() {
    while (page == null || (!page.hasNext() && !last)) {
      ListJobsResponse next =
          UnaryCall.await(
              UnaryCall.start(transport, JobEngineGrpc.getListJobsMethod(), request.build()));
      page = next.getJobsList().iterator();
      last = next.getNextPageToken().isEmpty();
      request.setPageToken(next.getNextPageToken());
    }
    return page.hasNext();
  }

  @Override
  public Job next() {
    if (!hasNext()) {
      throw new NoSuchElementException("there are no more jobs");
    }
    return page.next();
  }
}
