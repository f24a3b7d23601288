"""What every job needs: sources, a context, one run and its report, patience."""
