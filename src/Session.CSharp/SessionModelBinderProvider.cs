using Microsoft.AspNetCore.Mvc.ModelBinding;

namespace Session.CSharp;

/// <summary>Binds <see cref="Session{T}"/> parameters of MVC actions.</summary>
internal sealed class SessionModelBinderProvider<T> : IModelBinderProvider, IModelBinder
    where T : class
{
    public IModelBinder? GetBinder(ModelBinderProviderContext context) =>
        context.Metadata.ModelType == typeof(Session<T>) ? this : null;

    public async Task BindModelAsync(ModelBindingContext bindingContext)
    {
        var context = bindingContext.HttpContext;
        var session = await Session<T>.OfAsync(context, context.RequestAborted).ConfigureAwait(false);
        bindingContext.ValidationState[session] = new() { SuppressValidation = true };
        bindingContext.Result = ModelBindingResult.Success(session);
    }
}
