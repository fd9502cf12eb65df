// Placeholder, to be replaced.
WebApplication.CreateBuilder(args).Build();
